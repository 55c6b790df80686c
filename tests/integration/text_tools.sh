# awk, sed, grep, sort, find and xargs on a few thousand lines.
set -u
gawk 'BEGIN { srand(1); for (i = 0; i < 5000; ++i) printf "%d %s%d\n", int(rand() * 1000), "w", i % 37 }' > data
gawk '{ n[$2] += $1 } END { for (w in n) print w, n[w] }' data | sort -k2 -n | tail -n 3
gawk -F' ' 'NR % 1000 == 0 { print NR, $0; "echo from a command" | getline x; close("echo from a command"); print x }' data
sed -n '10,12p; s/w3$/W3/p' data | md5sum; sed -i.bak 's/w1 /&/; 1d' data; wc -l < data; wc -l < data.bak
grep -c w7 data; grep -n '^999 ' data | head -n 2; grep -rl w36 . | sort; grep nothing data; echo "$?"; grep -P '(\d)\1\1 w' data | wc -l
sort -S 1M -T . data | md5sum; LC_ALL=C sort -k2,2 -k1,1n --parallel=2 data | tail -n 1
mkdir -p many/{a,b,c}/{1,2,3} && for d in many/*/*; do cp data $d/; done
find many -type f | sort | xargs md5sum | cut -d' ' -f1 | uniq -c
find many -type f -print0 | xargs -0 -n 1 -P 3 wc -l | sort | head -n 1
find many -name 1 -type d -prune -o -name data -print | wc -l; find many -newer data -type d | wc -l > /dev/null; find many -empty; find many -delete; ls
diff data data.bak; diff -u <(head -n 3 data.bak) <(head -n 3 data) | tail -n +3
