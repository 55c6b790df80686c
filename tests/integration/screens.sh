# Full-screen programs in windows of tmux: an editor stopped and continued, resized, with commands of its own; a pager;
# script. What is on the screen is looked at when it shows what it must.
command -v tmux > /dev/null && command -v vi > /dev/null && command -v less > /dev/null || exit 77
export TERM=xterm-256color SHELL=/bin/bash
T="tmux -f /dev/null -S $PWD/socket"
shows() {
    for i in $(seq 400); do $T capture-pane -p > screen || exit; grep -q -- "$1" screen && return; sleep 0.05; done
    echo "never shown: $1"; grep . screen
}
see() { echo "-- $1:"; $T capture-pane -p | grep . | sed 's/ *[0-9,-]*  *All$//'; }
$T new-session -d -s s -x 80 -y 24 'PS1="$ " bash --norc'; shows '^\$'
$T send-keys 'vi -u NONE file' Enter; shows '^~'
$T send-keys 'ihello there' Enter 'line 2' Escape; shows '^line 2'; see written
$T resize-window -x 60 -y 15
for i in $(seq 400); do [ "$($T capture-pane -p | grep -c '^~')" = 12 ] && break; sleep 0.05; done; see resized
$T send-keys C-z; shows Stopped; see stopped
$T send-keys fg Enter; shows '^~'; see continued
$T send-keys ':!echo from a $((1+2)) shell' Enter; shows 'from a 3 shell'; $T send-keys Enter; shows '^~'
$T send-keys ':r !seq 3' Enter; shows '^3'
$T send-keys ':wq' Enter; shows '^\$ *$'
$T send-keys 'clear; cat file; echo end' Enter; shows '^end'; see 'the file'
$T send-keys 'clear; seq 100 | less' Enter; shows '^13'
$T send-keys ' '; shows '^25'; see paged
$T send-keys G; shows '^100'; $T send-keys q
$T send-keys 'clear; script -qc "stty size; tput cols" typescript | grep -c .; rm typescript; echo end' Enter
shows '^end'; see script
rm screen; $T send-keys exit Enter
for i in $(seq 400); do $T ls > /dev/null 2>&1 || break; sleep 0.05; done; $T ls 2>&1 | wc -l
