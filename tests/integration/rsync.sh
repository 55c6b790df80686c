# rsync is three processes that talk over pipes and socket pairs.
set -eu
mkdir -p from/a/b && seq 1 30000 > from/numbers && head -c 200000 /dev/zero > from/a/zeroes && ln -s a from/link && echo 1 > from/a/b/one
rsync -a from/ to/ && diff -r from to && echo same
sed -i 500,510d from/numbers && touch -d '2001-01-01 UTC' from/numbers && rm from/a/b/one && echo new > from/new
rsync -a --delete --checksum --itemize-changes from/ to/ | grep -v '^\.d' | sort && diff -r from to && echo same
rsync -a --dry-run --stats from/ other/ | grep -E '^Number of (files|created)'
rsync -a missing/ to/ 2> /dev/null || echo "rsync says $?"
