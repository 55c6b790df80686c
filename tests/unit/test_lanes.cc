// Lanes at home: how they begin, and that their end harms nobody.
#include "supervisor/lanes.h"
#include "remote/newcomers.h"
#include "remote/pass_socket.h"
#include <doctest/doctest.h>
#include <cstdlib>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

using namespace omx;

namespace {

constexpr LaneToken kToken{1, 2, 3};

struct Home {
    std::unique_ptr<Loop> loop = std::move(*Loop::make(LoopKind::epoll));
    std::vector<uint64_t> heard;
    std::unique_ptr<Link> link;
    std::unique_ptr<Lanes> lanes;
    Home(UniqueFd socket, UniqueFd door) {
        link = std::make_unique<Link>(plain_channel(std::move(socket)), *loop);
        lanes = std::make_unique<Lanes>(*loop, *link, std::move(door), [this](uint64_t lane) { heard.push_back(lane); });
    }
};

std::pair<UniqueFd, UniqueFd> sockets(int type) {
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

bool ended(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

}  // namespace

TEST_CASE("lanes: over an address each is a further connection that says whose it is") {
    Address at;
    char directory[] = "/tmp/omx-lanes-XXXXXX";
    SUBCASE("TCP") { at = *Address::parse("127.0.0.1:0"); }
    SUBCASE("unix") {
        REQUIRE(mkdtemp(directory));
        at = *Address::parse(std::string("unix:") + directory + "/s");
    }
    auto listener = listen_on(at);
    REQUIRE(listener);
    if (!at.is_unix) {
        sockaddr_in name{};
        socklen_t size = sizeof name;
        getsockname(listener->get(), reinterpret_cast<sockaddr*>(&name), &size);
        at.port = ntohs(name.sin_port);
    }
    auto socket = connect_to(at, 1000);
    REQUIRE(socket);
    pollfd waiting{listener->get(), POLLIN, 0};
    REQUIRE(poll(&waiting, 1, 1000) == 1);
    UniqueFd peer(accept(listener->get(), nullptr, nullptr));
    Home home(std::move(*socket), {});
    home.lanes->open({HomePid(10), 77, kToken});
    REQUIRE_FALSE(home.lanes->empty());
    REQUIRE(poll(&waiting, 1, 1000) == 1);
    UniqueFd lane(accept(listener->get(), nullptr, nullptr));
    for (int i = 0; i < 100 && peek_first_frame(lane.get()) != FirstFrame::lane; ++i) REQUIRE(home.loop->run_once(1000));
    auto hello = read_lane_hello(lane.get());
    REQUIRE(hello);
    CHECK(hello->version == kProtocolVersion);
    CHECK(hello->lane == 77);
    CHECK(hello->token == kToken);
    home.lanes->drop_of(HomePid(11));
    CHECK_FALSE(home.lanes->empty());
    home.lanes->drop_of(HomePid(10));
    CHECK(home.lanes->empty());
    CHECK(home.lanes->counters().frames_out == 1);      // still counted
    if (at.is_unix) {
        unlink(at.host.c_str());
        rmdir(directory);
    }
}

TEST_CASE("lanes: an embedded node gets sockets, and a lane that is worked with outlives its end") {
    auto [link, node_link] = sockets(SOCK_STREAM);
    auto [door, node_door] = sockets(SOCK_SEQPACKET);
    Home home(std::move(link), std::move(door));
    home.lanes->open({HomePid(10), 77, {}});
    auto passed = take_socket(node_door.get());
    CHECK(passed.number == 77);
    REQUIRE(passed.socket);
    CHECK_FALSE(ended(passed.socket.get()));
    REQUIRE(send(passed.socket.get(), "x", 1, 0) == 1);
    REQUIRE(home.loop->run_once(0));
    REQUIRE(home.heard.size() == 1);
    auto number = home.heard[0];
    auto lane = home.lanes->find(number);
    REQUIRE(lane);
    CHECK(lane->process == HomePid(10));
    home.lanes->drop(number);
    CHECK_FALSE(home.lanes->find(number));
    lane->link.send(FrameType::lane_reply, 1, View());      // to nobody
    CHECK(ended(passed.socket.get()));
    node_door.reset();
    home.lanes->open({HomePid(10), 78, {}});                // the node has ended
    CHECK(home.lanes->empty());
}

TEST_CASE("lanes: a node that wants too many gets some") {
    auto [link, node_link] = sockets(SOCK_STREAM);
    auto [door, node_door] = sockets(SOCK_SEQPACKET);
    Home home(std::move(link), std::move(door));
    for (uint64_t i = 0; i < Lanes::kMost + 10; ++i) {
        home.lanes->open({HomePid(10), i, {}});
        if (home.lanes->opened() > i) take_socket(node_door.get());
    }
    CHECK(home.lanes->opened() <= Lanes::kMost);
    CHECK(home.lanes->opened() > 10);
    home.lanes->drop_all();
    CHECK(home.lanes->empty());
}
