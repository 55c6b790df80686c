# One static program that is many.
set -u
b=/bin/busybox
$b sh -c 'x=0; while [ $x -lt 200 ]; do x=$((x+1)); done; echo $x; echo a b c | { read p q; echo "$q"; }'
$b seq 1 50 | $b grep 3 | $b sed 's/3/three/' | $b awk '{n++} END {print n, $0}'
$b mkdir -p d/e && $b touch d/e/f && $b find d | $b sort
$b tar cf t.tar d && $b tar tf t.tar && $b gzip -c d/e/f | $b zcat | $b wc -c
echo content > f && $b cp f g && $b md5sum f g && $b cmp f g && $b rm f && $b ls
$b vi --help > /dev/null 2>&1; $b expr 3 + 4; $b printf '%s\n' x; $b usleep 1000; $b dd if=/dev/zero of=z bs=1k count=8 2> /dev/null; $b od g | $b head -n 1
$b rm t.tar      # holds the times at which its members were made
$b false; echo $?; $b ash -c 'kill -TERM $$'; echo $?
