// The first words on a link, as home says and hears them. `omxsup run` and `omxsup doctor` greet a node the same way.
#pragma once
#include "protocol/link.h"
#include <string>

namespace omx {

constexpr int kConnectMs = 5000, kHelloMs = 10000;

// Of a file of /proc; empty if there is none.
std::string first_line(const char* path);

Hello hello_of_home(std::string command);
// Exchanges hellos, and tells the node what the clocks show here. `node` is the address, for the error, which is one
// sentence for a person.
Result<Hello> greet(Link&, const std::string& node, const Hello& ours);

}  // namespace omx
