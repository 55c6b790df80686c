#include "protocol/link.h"
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>

using namespace omx;

namespace {

std::string refusal(std::string_view text) {
    auto address = Address::parse(text);
    return address ? "accepted" : address.error().what;
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// Port 0 lets the kernel choose: the address that came of it.
Address bound(int socket, Address address) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    REQUIRE(getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) == 0);
    address.port = ntohs(reinterpret_cast<sockaddr_in*>(&name)->sin_port);      // at the same place in IPv6
    return address;
}
UniqueFd accepted(int listener) {
    pollfd ready{listener, POLLIN, 0};
    REQUIRE(poll(&ready, 1, 5000) == 1);
    return UniqueFd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

struct Directory {
    std::string path = "/tmp/omx-test-XXXXXX";
    Directory() { REQUIRE(mkdtemp(path.data())); }
    ~Directory() { unlink(socket().c_str()); rmdir(path.c_str()); }
    std::string socket() const { return path + "/socket"; }
    Address address() const { return *Address::parse("unix:" + socket()); }
};

}  // namespace

TEST_CASE("addresses: the three forms, there and back") {
    auto a = Address::parse("node1.example.org:7777");
    REQUIRE(a);
    CHECK(a->host == "node1.example.org");
    CHECK(a->port == 7777);
    CHECK_FALSE(a->is_unix);
    CHECK(a->text() == "node1.example.org:7777");

    auto v6 = Address::parse("[fe80::1%eth0]:1");
    REQUIRE(v6);
    CHECK(v6->host == "fe80::1%eth0");
    CHECK(v6->text() == "[fe80::1%eth0]:1");

    auto u = Address::parse("unix:/run/omxsup: a strange name");
    REQUIRE(u);
    CHECK(u->is_unix);
    CHECK(u->host == "/run/omxsup: a strange name");
    CHECK(u->text() == "unix:/run/omxsup: a strange name");
}

TEST_CASE("addresses: what is none is told with the remedy") {
    CHECK(has(refusal("node1"), "HOST:PORT"));
    CHECK(has(refusal(""), "HOST:PORT"));
    CHECK(has(refusal("::1:7777"), "brackets"));
    CHECK(has(refusal(":7777"), "names no host"));
    CHECK(has(refusal("[]:7777"), "names no host"));
    CHECK(has(refusal("a b:1"), "names no host"));
    for (auto port : {"h:", "h:x", "h:-1", "h:65536", "h:1x", "h: 1", "h:99999999999999999999"})
        CHECK(has(refusal(port), "0 to 65535"));
    CHECK(has(refusal("unix:"), "1 to 107"));
    CHECK(has(refusal("unix:" + std::string(108, 'x')), "1 to 107"));
    CHECK(refusal("unix:" + std::string(107, 'x')) == "accepted");
}

TEST_CASE("addresses: loopback") {
    for (auto text : {"localhost:1", "127.0.0.1:1", "127.9.8.7:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/x"})
        CHECK(Address::parse(text)->loopback());
    for (auto text : {"0.0.0.0:1", "128.0.0.1:1", "[::]:1", "[::2]:1", "[::ffff:10.0.0.1]:1", "127.example.org:1"})
        CHECK_FALSE(Address::parse(text)->loopback());
}

TEST_CASE("addresses: TCP over loopback, and who is there") {
    for (auto text : {"127.0.0.1:0", "[::1]:0", "[::]:0"}) {
        auto listener = listen_on(*Address::parse(text));
        if (!listener && has(text, "[")) continue;      // a machine without IPv6
        REQUIRE(listener);
        auto address = bound(listener->get(), *Address::parse(text));
        if (address.host == "::") address.host = "127.0.0.1";      // a v4 client of a v6 listener
        auto client = connect_to(address, 5000);
        REQUIRE_MESSAGE(client, client.error().what);
        auto server = accepted(listener->get());
        auto theirs = peer_uid(server.get());
        REQUIRE_MESSAGE(theirs, theirs.error().what);
        CHECK(*theirs == geteuid());
        auto ours = peer_uid(client->get());
        REQUIRE_MESSAGE(ours, ours.error().what);
        CHECK(*ours == geteuid());
    }
}

TEST_CASE("addresses: the uid of a socket that nobody holds is not root's") {
    auto listener = listen_on(*Address::parse("127.0.0.1:0"));
    REQUIRE(listener);
    auto client = connect_to(bound(listener->get(), *Address::parse("127.0.0.1:0")), 5000);
    REQUIRE(client);
    auto server = accepted(listener->get());
    client->reset();
    CHECK_FALSE(peer_uid(server.get()));
}

TEST_CASE("addresses: unix sockets, left-over files included") {
    Directory directory;
    { auto first = listen_on(directory.address()); REQUIRE_MESSAGE(first, first.error().what); }      // leaves its file
    auto listener = listen_on(directory.address());
    REQUIRE_MESSAGE(listener, listener.error().what);
    auto client = connect_to(directory.address(), 5000);
    REQUIRE(client);
    auto server = accepted(listener->get());
    auto uid = peer_uid(server.get());
    REQUIRE(uid);
    CHECK(*uid == geteuid());

    auto second = listen_on(directory.address());
    REQUIRE_FALSE(second);
    CHECK(second.error().code == EADDRINUSE);
    CHECK(connect_to(directory.address(), 5000));      // and the first one still answers
}

TEST_CASE("addresses: failures name the remedy") {
    auto listener = listen_on(*Address::parse("127.0.0.1:0"));
    REQUIRE(listener);
    auto address = bound(listener->get(), *Address::parse("127.0.0.1:0"));
    auto again = listen_on(address);
    REQUIRE_FALSE(again);
    CHECK(has(again.error().what, "choose another port"));
    listener->reset();
    auto nobody = connect_to(address, 5000);
    REQUIRE_FALSE(nobody);
    CHECK(nobody.error().code == ECONNREFUSED);
    CHECK(has(nobody.error().what, "start `omxsup node`"));

    auto foreign = listen_on(*Address::parse("192.0.2.1:0"));      // TEST-NET-1: nobody has it
    REQUIRE_FALSE(foreign);
    CHECK(has(foreign.error().what, "no such address"));
    auto missing = connect_to(*Address::parse("unix:/nonexistent/socket"), 5000);
    REQUIRE_FALSE(missing);
    CHECK(has(missing.error().what, "nobody listens"));
    CHECK(has(listen_on(*Address::parse("unix:/nonexistent/socket")).error().what, "make the directory"));
}

TEST_CASE("addresses: peer_uid of what is no connection") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    UniqueFd a(ends[0]), b(ends[1]);
    CHECK(*peer_uid(a.get()) == geteuid());
    CHECK_FALSE(peer_uid(-1));
    UniqueFd unconnected(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_FALSE(peer_uid(unconnected.get()));
}
