"""Cases of people at terminals: they must see the same wherever their programs run. terminal.py types and reads."""
import difflib
import os

from context import FAR_MODES
from terminal import PROMPT, Terminal

# What a person does with jobs: keys, the command that must be in front before, what must come. READY is where the
# shell waits for the next line.
READY = PROMPT + "$"
UNTIL_STOPPED = "until jobs | grep -q Stopped; do :; done; jobs\r"
JOBS = [
    ("", "", READY), ("sleep 100\r", "", "100\r\n"), ("\x1a", "sleep", READY), ("jobs\r", "", READY),
    ("bg\r", "", READY), ("jobs\r", "", READY), ("fg\r", "", "100\r\n"), ("\x03", "sleep", READY),
    ("echo $?\r", "", READY),
    # One in the background reads, another one writes where that isn't wanted: both stop, and go on in front.
    ("cat & " + UNTIL_STOPPED, "", READY), ("fg\r", "", "cat\r\n"), ("hello\r", "cat", "hello\r\nhello\r\n"),
    ("\x04", "cat", READY), ("echo $?\r", "", READY),
    ("stty tostop; (echo out) & " + UNTIL_STOPPED, "", READY), ("fg\r", "", "out\r\n.*" + READY),
    ("stty -tostop\r", "", READY),
    ("sleep 100 &\r", "", READY), ("kill -STOP %1; " + UNTIL_STOPPED, "", READY), ("kill -CONT %1; jobs\r", "", READY),
    ("fg\r", "", "100\r\n"), ("\x03", "sleep", READY),
    ("sleep 100 | cat\r", "", "cat\r\n"), ("\x1a", "sleep cat", READY), ("fg\r", "", "cat\r\n"),
    ("\x1c", "sleep cat", READY),
    ("echo ${PIPESTATUS[*]}\r", "", READY),
    ("sh -c \"trap 'stty size' WINCH; echo s''et; while :; do sleep 0.01; done\"\r", "", "set\r\n"),
    ((30, 90), "", "30 90\r\n"), ("\x03", "", READY), ("stty size; echo $LINES\r", "", READY),
]
SHELL_IN_A_SHELL = [
    ("bash --norc -i\r", "", READY), ("sleep 50\r", "", "50\r\n"), ("\x1a", "sleep", "Stopped.*\r\n.*" + READY),
    ("jobs\r", "", READY), ("suspend\r", "", READY), ("jobs\r", "", READY), ("fg\r", "", "-i\r\n(.|\n)*" + READY),
    ("fg\r", "", "50\r\n"), ("\x03", "sleep", READY), ("exit 3\r", "", READY), ("echo $?\r", "", READY),
]
END = [("exit 5\r", "", "\r\nexit\r\n")]


def played(ctx, mode, steps, words, path=""):
    ctx.stage.fresh_work()
    terminal = Terminal(ctx.stage, words, path)
    terminal.play(steps)
    status = terminal.close()
    ctx.complaints += [f"{mode}: {line}" for line in ctx.stage.leftover_processes()]
    return status, terminal.transcript()


def expect_as_natively(ctx, said):
    ctx.expect(said["native"][0] == 5, f"native: {said['native']}")
    for mode, what in said.items():
        lines = difflib.unified_diff(said["native"][1].splitlines(), what[1].splitlines(), "native", mode, lineterm="")
        ctx.expect(what == said["native"], f"{mode}: status {what[0]}\n" + "\n".join(lines))


def case_job_control_of_a_shell(ctx):
    shell = ["/bin/bash", "--norc", "--noprofile", "-i"]
    steps = JOBS + SHELL_IN_A_SHELL + END
    expect_as_natively(ctx, {mode: played(ctx, mode, steps, ctx.stage.words(mode, shell))
                             for mode in ("native", "home", *FAR_MODES)})


def case_job_control_by_a_shell_that_is_no_guest(ctx):
    shell, directory = ["/bin/bash", "--norc", "--noprofile", "-i"], os.path.join(ctx.stage.directory, "commands")
    said = {"native": played(ctx, "native", JOBS + END, shell)}
    for mode in FAR_MODES:
        os.makedirs(directory, 0o755, exist_ok=True)
        for command in "sleep", "cat", "sh":
            with open(os.path.join(directory, command), "w") as f:
                f.write("#!/bin/bash\nexec " + " ".join(ctx.stage.words(mode, ["/bin/" + command])) + ' "$@"\n')
            os.chmod(f.name, 0o755)
        said[mode] = played(ctx, mode, JOBS + END, shell, directory + ":")
    expect_as_natively(ctx, said)
