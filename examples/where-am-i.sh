#!/bin/sh
# Try it: omxsup run --local-node -- sh examples/where-am-i.sh
# Everything but the last line is home's; the last line shows how fast the CPU is on which this shell really runs.
echo "host $(uname -n), kernel $(uname -r), process $$, in $(pwd), terminal $(tty)"
echo "my parent is $(cat /proc/$PPID/comm 2>/dev/null || echo gone)"
start=$(date +%s%N)
i=0
while [ "$i" -lt 200000 ]; do i=$((i + 1)); done
echo "200,000 rounds took $((($(date +%s%N) - start) / 1000000)) ms"
