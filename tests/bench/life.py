"""Threads, processes, signals, and what an idle guest costs in memory: how much longer than the wire they take."""
import json, os, subprocess, tempfile, time

from bed import LIFE, OMXSUP, ROUNDS, args, median_of, report, running

FEW = 4 if args.quick else 1            # so many times fewer of everything


def program(bed, *words, away=True):
    words = [LIFE, *map(str, words)]
    return json.loads(bed.away(words) if away else bed.home(words))


def beside_round_trips(bed, *words):
    """Microseconds of one of the things that LIFE does, and of a round trip around it."""
    before, got, after = bed.round_trip(), program(bed, *words), bed.round_trip()
    return got["p50_us"], (before["p50_us"] + after["p50_us"]) / 2


def round_trips_of(bed, what, number=100):
    """How many calls home waits for in one."""
    def trips(n):
        with tempfile.NamedTemporaryFile() as stats:
            bed.away([LIFE, what, str(n)], stats=stats.name)
            return json.load(stats)["round_trips"]
    return (trips(number + 1) - trips(1)) / number


def threads(bed, where):
    def once():
        us, trip = beside_round_trips(bed, "threads", 800 // FEW)
        return (us - 100) / trip, us, trip
    value, us, trip = median_of(ROUNDS, once)
    report(f"thread create + join without 100 µs, round trips{where}", value, "<= 1.3", "", us=us, pingpong_us=trip,
           trips=round_trips_of(bed, "threads"))


def forks(bed, where):
    trips = round_trips_of(bed, "forks")
    def once():
        us, trip = beside_round_trips(bed, "forks", 400 // FEW)
        return (us - trips * trip) / 1e3, us, trip
    value, us, trip = median_of(ROUNDS, once)
    native = program(bed, "forks", 400 // FEW, away=False)["p50_us"]
    report(f"fork + exit + wait beyond its round trips{where}", value, "<= 2", "ms", us=us, trips=trips, pingpong_us=trip,
           native_us=native)


def forkers(bed, where):
    def once():
        return (program(bed, "forkers", 4, 400 // FEW)["forks_s"],)
    value, = median_of(ROUNDS, once)
    report(f"forks a second of four parents{where}", value, ">= 500", "/s",
           one=program(bed, "forkers", 1, 400 // FEW)["forks_s"], native=program(bed, "forkers", 4, 400 // FEW, away=False)["forks_s"])


def busy_ticks():
    """Of each CPU: ticks that it was busy, and all."""
    lines = [line.split() for line in open("/proc/stat") if line.startswith("cpu") and line[3].isdigit()]
    return {line[0]: (sum(map(int, line[1:4])) + sum(map(int, line[6:9])), sum(map(int, line[1:9]))) for line in lines}


def calling_at_once(bed, where):
    """Calls that take a millisecond at home wait for each other nowhere; calls that take no time fill a CPU."""
    def once():
        one, eight = (program(bed, "callers", t, 400 // FEW, 1)["calls_s"] for t in (1, 8))
        return eight / one, one, eight
    value, one, eight = median_of(ROUNDS, once)
    report(f"8 threads in calls of a millisecond, against one{where}", value, "8", one_s=one, eight_s=eight)
    def full():
        rates = [program(bed, "callers", t, 24000 // FEW // t, 0)["calls_s"] for t in (1, 2)]
        before = busy_ticks()
        rates.append(program(bed, "callers", 8, 24000 // FEW, 0)["calls_s"])
        after = busy_ticks()
        busy = max((after[c][0] - before[c][0]) / max(after[c][1] - before[c][1], 1) for c in before)
        return 100 * busy, *rates
    busy, one, two, eight = median_of(ROUNDS, full)
    report(f"8 threads in calls of no time: the busier CPU is full{where}", busy, ">= 95", "%", one_s=one, two_s=two, eight_s=eight)


def beside_a_blocked_one(bed, where):
    def once():
        alone = program(bed, "beside", 8000 // FEW, 0)["p50_us"]
        beside = program(bed, "beside", 8000 // FEW, 1)["p50_us"]
        return beside / alone, beside, alone
    value, beside, alone = median_of(ROUNDS, once)
    report(f"a call beside one that blocks, against one beside none{where}", value, "1", beside_us=beside, alone_us=alone)


def signals(bed, where):
    for paused, doing in ((0, "computes"), (1, "is paused")):
        def once():
            handler = [LIFE, "handle", str(300 // FEW), str(paused)]
            sender = [LIFE, "signal", str(300 // FEW)]
            before = bed.round_trip()
            away = json.loads(bed.home([*sender, OMXSUP, "run", "--on", bed.node, "--", *handler]))
            after = bed.round_trip()
            one_way = (before["p50_us"] + after["p50_us"]) / 4
            return away["p50_us"] - one_way, away["p50_us"], one_way, json.loads(bed.home([*sender, *handler]))["p50_us"]
        value, us, one_way, native = median_of(ROUNDS, once)
        report(f"signal from home to the handler of who {doing}, beyond one way{where}", value, "<= 100", "µs", us=us,
               one_way_us=one_way, native_us=native)


def proportional_kib():
    """Of all processes of ours that run now, by what they are."""
    sums = {"program": 0, "omxsup": 0}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = open(f"/proc/{pid}/comm").read()
            kind = "omxsup" if name.startswith("omxsup") else "program" if name.startswith("life_work") else None
            if kind:
                sums[kind] += int(next(l for l in open(f"/proc/{pid}/smaps_rollup") if l.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            pass                        # it has ended
    return sums


def memory(bed):
    """What a hundred guests take on both sides, without what they take natively."""
    number = 100
    def taken(prefix):
        before = proportional_kib()
        words = bed.hosts.command(1, bed.home_cpu, [*prefix, LIFE, "idle", str(number)])
        with running(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bed.env) as p:
            p.stdout.readline()
            time.sleep(0.5)             # not waiting for an event: who is done with starting is idle
            after = proportional_kib()
            p.stdin.close()
            p.wait()
        return {k: after[k] - before[k] for k in after}
    native, away = taken([]), taken([OMXSUP, "run", "--on", bed.node, "--"])
    extra = sum(away.values()) - sum(native.values())
    report("memory of an idle guest, both sides, beyond its own", extra / number / 1024, "<= 2", "MiB",
           guest_and_deputy_kib=away["program"] / number, supervisor_and_worker_kib=away["omxsup"] / number,
           native_kib=native["program"] / number)


def all_of(bed, where, wanted):
    if wanted("threads"): threads(bed, where)
    if wanted("forks"): forks(bed, where)
    if wanted("forks"): forkers(bed, where)
    if wanted("callers"): calling_at_once(bed, where)
    if wanted("beside"): beside_a_blocked_one(bed, where)
    if wanted("signals"): signals(bed, where)
