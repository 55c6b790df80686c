"""Files of home's on a node, and programs that are made of them: mapped, met for the first time, executed."""
import contextlib, json, os, random, tempfile
from bed import OMXSUP, ROUNDS, WORK, args, median_of, report

LIBRARY_MIB = 30


def rounds_of_trips(bed, words, runs):
    """Round trips of one run among `runs`: what beginning and ending the job takes is in neither."""
    with tempfile.TemporaryDirectory() as d:
        def trips(n):
            bed.away([WORK, "elapsed", str(n), *words], stats=os.path.join(d, "stats"), cwd=d)
            return json.load(open(os.path.join(d, "stats")))["round_trips"]
        return (trips(runs + 2) - trips(2)) / runs


@contextlib.contextmanager
def library(directory):
    """A file with contents of its own, older than what the cache takes for unsettled."""
    with tempfile.NamedTemporaryFile(dir=directory) as f:
        f.write(random.randbytes(1 << 20) * LIBRARY_MIB)
        f.flush()
        os.utime(f.name)
        yield f.name


def mapping(bed, where):
    def touched(run, path):
        got = json.loads(run([WORK, "maptouch", path]))
        return got["ms"], got["sum"]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d, library(d) as path:
        for _ in range(2): touched(bed.away, path), touched(bed.home, path)
        def cached():
            (native, sum_here), (away, sum_there) = touched(bed.home, path), touched(bed.away, path)
            assert sum_here == sum_there
            return away / native, away, native
        ratio, away, native = median_of(3 * ROUNDS, cached)
        report(f"mapping and touching a cached {LIBRARY_MIB} MiB library{where}", ratio, "<= 1.1", away_ms=away, native_ms=native)
        def first():
            with library(d) as fresh:
                native, _ = touched(bed.home, fresh)
                stream = bed.pingpong("--stream")["stream_mb_s"]
                away, _ = touched(bed.away, fresh)
                transfer = LIBRARY_MIB * (1 << 20) / stream / 1e3
                return (away - native) / transfer, away, native, transfer, stream
        ratio, away, native, transfer, stream = median_of(3 * ROUNDS, first)
        report(f"first use of it on a node, without the touching, in transfers{where}", ratio, "<= 1.1", away_ms=away,
               native_ms=native, transfer_ms=transfer, stream_mb_s=stream)


def programs(bed, where):
    with tempfile.TemporaryDirectory() as d:
        source = os.path.join(d, "small.c")
        with open(source, "w") as f:
            f.write("#include <stdio.h>\nint main(void) { return printf(\"small\\n\") < 0; }\n")
        commands = {"python3 -c pass": ["/usr/bin/python3", "-c", "pass"],
                    "gcc -c of a small file": ["/usr/bin/gcc", "-c", source, "-o", os.path.join(d, "small.o")]}
        for name, words in commands.items():
            runs = 5 if args.quick else 12
            trips = rounds_of_trips(bed, words, 4)
            def once():
                timed = [WORK, "elapsed", str(runs), *words]
                before = bed.round_trip()["p50_us"]
                native, away = (json.loads(run(timed))["p50_us"] for run in (bed.home, bed.away))
                trip = (before + bed.round_trip()["p50_us"]) / 2
                return away / (native + trips * trip), away / 1e3, native / 1e3, trips, trip
            ratio, away, native, trips, trip = median_of(ROUNDS, once)
            report(f"{name}, against native and its round trips{where}", ratio, "<= 1.15", away_ms=away,
                   native_ms=native, trips=trips, pingpong_us=trip)
