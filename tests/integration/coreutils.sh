# The everyday tools on everyday files.
set -u
mkdir -p tree/a/b tree/c && cd tree
seq 1 1000 > numbers
for i in 1 2 3; do echo "file $i" > "a/file $i"; done
cp -a a copy && cp numbers a/b/ && mv c d && ln -s a/b link && ln numbers hard
touch -d '2001-02-03 04:05:06 UTC' old
ls -1 -F . a && ls -ld --time-style=+%s old | cut -d' ' -f1,2,7
stat -c '%n %s %h %F' numbers link a
cat numbers | head -n 5 | tail -n 2
wc numbers && sort -rn numbers | head -n 3 && uniq -c <(printf 'a\na\nb\n')
cut -c1-2 numbers | sort -u | wc -l
tr 1-5 a-e < numbers | md5sum && sha256sum numbers | cut -c1-16 && cksum numbers
paste -d, <(seq 3) <(seq 4 6) && join <(printf '1 a\n2 b\n') <(printf '1 x\n2 y\n')
comm -12 <(seq 1 5) <(seq 3 9) && split -l 300 numbers part. && ls part.*
od -An -tx1 -N16 numbers && base64 -w0 old && basename "$PWD" && dirname /x/y
dd if=numbers of=dd.out bs=512 count=3 skip=1 conv=notrunc 2>/dev/null && wc -c < dd.out
du -a --apparent-size --block-size=1 a | sort -k2 | tail -n 3
expr 6 '*' 7; test -d a -a -L link && echo yes; printf '%05d|%s\n' 42 x; env -i A=1 env; date -u -d @0 +%F
seq 5 | shuf --random-source=numbers | tr '\n' ' '; tac old; nl numbers | head -n 2; fold -w 3 <<< abcdef; factor 1234567890
yes | head -n 100000 | wc -l
mktemp -u XXXX > /dev/null; readlink -f link | grep -c a/b; truncate -s 5000 t; chmod 751 t; tee t2 < old; rm -r copy; rmdir nothing
timeout 0.2 sleep 5; echo "timeout said $?"; nohup true 2> /dev/null; nice -n 5 nice; id -u; ls nothing; echo "$?"; pwd -P | grep -c tree
# A program that another user runs, after a change of identity in the middle of the job.
setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "id -u; id -g"; echo "setpriv: $?"
