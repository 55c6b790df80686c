# Compilers make many processes, map many files, and must make the same bytes.
set -eu
for i in $(seq 1 300); do echo "int f$i(int x, const int *p) { int s = x * $i; for (int k = 0; k < x; ++k) s += p[k] ^ $i; return s; }"; done > big.c
gcc -O2 -c big.c && nm big.o | wc -l
cat > small.cc << 'END'
#include <iostream>
#include <map>
#include <string>
int main() {
    std::map<std::string, int> m{{"one", 1}, {"two", 2}};
    for (auto& [k, v] : m) std::cout << k << ' ' << v << '\n';
    try { m.at("three"); } catch (const std::exception& e) { std::cout << "caught " << e.what() << std::endl; }
    return 3;
}
END
g++ -std=c++17 -O1 small.cc -o small
status=0; ./small || status=$?; echo "status $status"
gcc -c missing.c || echo "gcc says $?"
echo 'int main( {' > wrong.c; gcc -c wrong.c || echo "gcc says $?"
size big.o | tail -n 1; objdump -d big.o | tail -n +4 | md5sum; ar rcD lib.a big.o && ar t lib.a; strip -o stripped small; file -b stripped | cut -d, -f1,2
