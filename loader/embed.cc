// Build tool: writes a file as a C++ array. embed INPUT OUTPUT NAME
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    std::ifstream in(argv[1], std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    std::ofstream out(argv[2]);
    out << "// Made by loader/embed.cc.\n#include \"loader/blobs.h\"\n\nnamespace omx {\n\n"
        << "static const unsigned char bytes[] = {";
    for (size_t i = 0; i < bytes.size(); i++)
        out << (i % 24 ? "," : i ? ",\n" : "\n") << static_cast<int>(static_cast<unsigned char>(bytes[i]));
    out << "\n};\nView " << argv[3] << "() { return std::as_bytes(std::span(bytes)); }\n\n}  // namespace omx\n";
    return in.bad() || bytes.empty() || !out.flush() ? 1 : 0;
}
