# tar, gzip, bzip2, xz: there and back.
set -eu
mkdir -p in/sub && seq 1 50000 > in/numbers && head -c 300000 /dev/zero > in/zeroes && ln -s numbers in/link && chmod 640 in/zeroes && echo x > 'in/sub/a b'
find in -exec touch -h -d '2001-01-01 UTC' {} +
tar --sort=name --owner=0 --group=0 --numeric-owner -cf a.tar in && tar tvf a.tar | awk '{print $1, $3, $4, $6}'
for tool in 'gzip -n' bzip2 'xz -T1' 'xz -T2'; do $tool -k -c a.tar > packed; ls -s --block-size=1M packed > /dev/null; $tool -dc packed | cmp - a.tar && echo "$tool is right"; done
echo more > added; tar -rf a.tar added && tar tf a.tar | tail -n 1; tar --delete -f a.tar added && tar tf a.tar | grep -c added || true
tar czf - in | tar xzf - --transform 's/^in/out/' && diff -r in out && echo same
xz -9 a.tar && xz -l --robot a.tar.xz | grep -c file && tar xJf a.tar.xz -O in/numbers | tail -n 1
echo broken > b.gz; gzip -t b.gz || echo "gzip says $?"
