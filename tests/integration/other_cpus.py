"""Cases of nodes whose CPU can do more or less than home's. They only say so: --test-cpu changes the description."""
import json
import os

# Features that no CPU of these tests has, or that each has.
MORE, LESS = "+amx_fp16,+avx10", "-avx2,-sse4_2"


def case_node_with_more_cpu_features_refuses(ctx):
    """A guest would take what it finds there, and could not come home. The line names features and remedy."""
    node = ctx.stage.node((f"--test-cpu={MORE}",))
    err = ctx.expect_failure([ctx.stage.omxsup, "run", "--on=" + node.address, "--", "true"], 125)
    ctx.expect(b"(amx_fp16, avx10)" in err and b"Run from the newer machine" in err, f"it doesn't say which: {err!r}")
    status, out, _ = ctx.run([ctx.stage.omxsup, "doctor", node.address])
    ctx.expect(status == 1 and b"amx_fp16, avx10" in out, f"doctor says {status} {out!r}")


def case_node_with_fewer_cpu_features_serves(ctx):
    """What its CPU doesn't know is tried again at home, which knows better, or dies of it there."""
    node = ctx.stage.node((f"--test-cpu={LESS}",))
    for arguments, came_home in ([], 1), (["dies"], 1), (["trap"], 0):
        command = [ctx.guest("runs_what_no_cpu_knows"), *arguments]
        native = ctx.run(command)
        far = ctx.run([ctx.stage.omxsup, "run", "--stats=stats", "--on=" + node.address, "--", *command])
        ctx.expect(far == native, f"{arguments}: {far}, natively {native}")
        with open(os.path.join(ctx.stage.work, "stats")) as f:
            stats = json.load(f)
        ctx.expect(stats.get("came_home", {}).get("SIGILL", 0) == came_home, f"{arguments}: {stats}")
        told = [p["reason"] for p in stats["processes"] if "avx2" in p["reason"] and "sse4_2" in p["reason"]]
        ctx.expect(len(told) == came_home, f"{arguments}: {stats['processes']}")
