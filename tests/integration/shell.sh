# What shell scripts do: pipes, sub-shells, traps, here documents, redirections, background jobs, read loops.
x=$(echo sub; exit 3); echo "$x $?"
echo one | while read -r line; do echo "got $line"; done
(cd / && pwd); pwd | grep -c .
cat << END | tr a-z A-Z
here $((6 * 7)) is $(printf %s text)
END
false | true; echo "${PIPESTATUS[*]}"
trap 'echo caught USR1' USR1; kill -USR1 $$; trap 'echo leaving' EXIT
{ sleep 0.1; exit 7; } & wait $!; echo "background said $?"
sleep 100 & sleep 0.2; kill $!; wait $! 2> /dev/null; echo "killed: $?"
for i in 1 2 3 4; do (exit $i) & done; wait; echo "all done"
exec 3> file; echo through three >&3; exec 3>&-; cat file
echo err >&2; { echo both; echo err2 >&2; } > both 2>&1; sort both
diff <(seq 3) <(seq 2 4); echo "diff said $?"
mapfile -t lines < <(seq 5); echo "${#lines[@]} ${lines[4]}"
read -r -t 0.05 nothing < <(sleep 0.3); echo "read said $((${?} > 128))"
ulimit -n 50; ulimit -n; umask 027; touch made; stat -c %a made
{ bash -c 'kill -9 $$'; } 2> /dev/null; echo "$?"; bash -c 'nosuchcommand' 2> /dev/null; echo "$?"; bash -c '/etc/passwd' 2> /dev/null; echo "$?"
printf '%s\n' {a..e} | xargs -n 2 -P 2 echo | sort; coproc cat; echo back >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
kill $COPROC_PID; exit 9
