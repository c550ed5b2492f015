// SPDX-License-Identifier: Apache-2.0
// Bytes to JSON by the BTF that clang made of abi.h and of stranger types.
#include "agent/cli/btf_json.h"

#include <bpf/btf.h>
#include <doctest/doctest.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>
#include <memory>
#include <random>

#include "test/unit/cli_btf_types.h"
#include "underpass/abi_names.h"
#include "underpass/ip_address.h"

using namespace underpass;
using namespace underpass::cli;
namespace json = boost::json;

namespace {

struct Types {
  Types() : types(::btf__parse_elf(UNDERPASS_BTF_OBJECT, nullptr), &::btf__free) { REQUIRE(types); }

  [[nodiscard]] std::uint32_t id(const char* name, std::uint32_t kind = BTF_KIND_STRUCT) const {
    const std::int32_t found = ::btf__find_by_name_kind(types.get(), name, kind);
    REQUIRE(found > 0);
    return static_cast<std::uint32_t>(found);
  }

  std::unique_ptr<btf, decltype(&::btf__free)> types;
};

template <typename Value>
Bytes bytes_of(const Value& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}

template <typename Value>
std::string decoded(const char* type, const Value& value, std::span<const ArrayNames> arrays = {},
                    std::span<const NumberNames> numbers = {}) {
  const Types types;
  return json::serialize(BtfJson(types.types.get(), arrays, numbers).decode(types.id(type), bytes_of(value)));
}

std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

up_addr address(const char* text) { return IpAddress::parse(text).value().to_abi(); }

}  // namespace

TEST_CASE("btf json: the keys and values of abi.h") {
  up_pod pod{
      .mode = UP_MODE_ON, .peers_mesh = 1, .namespace_id = 3, .learned = 1, .namespace_name = "shop", .name = "web"};
  CHECK(
      decoded("up_pod", pod) ==
      R"({"mode":"on","peers_mesh":1,"namespace_id":3,"learned":1,"hash":0,"identity":0,"policy":0,"excludes":0,"capture":0,"ip4":"::","ip6":"::","namespace_name":"shop","name":"web"})");

  up_source_key key{};
  key.server_netns = 18'446'744'073'709'551'615U;
  key.client = address("10.0.0.7");
  key.server = address("fd00::9");
  key.client_port = htons(40000);
  key.server_port = htons(80);
  key.pad = 7;
  CHECK(decoded("up_source_key", key) == compact(R"({"server_netns": "18446744073709551615", "client": "10.0.0.7",
    "server": "fd00::9", "client_port": 40000, "server_port": 80})"));

  up_end end{};
  end.netns_cookie = 12;
  end.cookie = 345;
  end.sock = 0xffff888000000000U;
  end.addr = address("10.0.0.7");
  end.port = htons(443);
  end.mapped = 1;
  end.state = UP_TCP_CLOSE_WAIT;
  CHECK(decoded("up_end", end) == compact(R"({"netns_cookie": "12", "cookie": "345", "addr": "10.0.0.7", "port": 443,
    "mapped": 1, "worker": 0, "state": "close-wait"})"));

  up_sk sk{.conn = 9, .end = UP_SERVER, .why = UP_WHY_OTHER_SOCKMAP};
  sk.carries = 8;
  sk.original_netns = 12;
  sk.original = address("10.0.0.9");
  sk.original_port = htons(443);
  sk.service = 3;
  sk.dialled_port = htons(80);
  sk.backend_port = htons(8080);
  sk.dialled = address("10.96.0.1");
  sk.backend = address("10.0.0.7");
  CHECK(decoded("up_sk", sk) == compact(R"({"conn": "9", "carries": "8", "original_netns": "12",
    "original": "10.0.0.9", "original_port": 443, "led": 0, "way": "direct", "end": 1, "why": "other-sockmap", "service": 3,
    "dialled_port": 80, "backend_port": 8080, "dialled": "10.96.0.1", "backend": "10.0.0.7", "alone": 0,
    "errand": 0, "tunnel": 0, "workload": 0})"));

  CHECK(decoded("up_excluded_key", up_excluded_key{.netns_cookie = 12, .port = htons(80), .inbound = 1, .pad = 0}) ==
        R"({"netns_cookie":"12","port":80,"inbound":1})");
  CHECK(decoded("up_worker", up_worker{.number = 3, .dials = -1, .port4 = htons(15001), .port6 = 0, .pad = 0}) ==
        R"({"number":3,"dials":-1,"port4":15001,"port6":0})");
}

TEST_CASE("btf json: arrays that are indexed by an enum") {
  const std::vector<ArrayNames> names{
      {.type = "up_stats", .member = "connections", .names = {"direct", "short-circuit"}},
      {.type = "up_conn", .member = "end", .names = {"client", "server"}},
  };
  up_stats stats{};
  stats.connections[1] = 5;
  stats.connections[2] = 6;
  stats.fallbacks[1] = 7;
  const auto view = json::parse(decoded("up_stats", stats, names)).as_object();
  CHECK(view.at("connections") == json::parse(R"({"short-circuit": 5, "2": 6})"));
  CHECK(view.at("redirected_bytes") == 0);
  CHECK(view.at("fallbacks").as_array().size() == UP_WHY_COUNT);

  const auto conn = json::parse(decoded("up_conn", up_conn{}, names)).as_object();
  CHECK(conn.at("end").at("server").at("state") == "none");
  CHECK(conn.at("dir").is_array());
}

TEST_CASE("btf json: Services, with protocols and flags by name") {
  const std::vector<NumberNames> numbers{
      {.type = "", .member = "protocol", .names = {{6, "tcp"}, {17, "udp"}}},
      {.type = "up_service", .member = "flags", .flags = true, .names = {{1, "maglev"}, {4, "odd"}}},
  };
  up_service_key key{.addr = address("10.96.0.1"), .port = htons(80), .protocol = 6};
  CHECK(decoded("up_service_key", key, {}, numbers) == R"({"addr":"10.96.0.1","port":80,"protocol":"tcp"})");
  key.protocol = 132;
  CHECK(decoded("up_service_key", key, {}, numbers) == R"({"addr":"10.96.0.1","port":80,"protocol":132})");
  CHECK(decoded("up_service_key", key) == R"({"addr":"10.96.0.1","port":80,"protocol":132})");

  up_service service{.id = 3, .slots = 2, .flags = 0, .port = htons(80), .protocol = 17, .namespace_name = "shop"};
  std::strcpy(service.name, "web");
  const auto flags_of = [&](std::uint32_t flags) {
    service.flags = flags;
    return json::serialize(json::parse(decoded("up_service", service, {}, numbers)).at("flags"));
  };
  CHECK(flags_of(0) == "[]");
  CHECK(flags_of(UP_SERVICE_MAGLEV) == R"(["maglev"])");
  CHECK(flags_of(5 | 8) == R"(["maglev","odd",8])");
  CHECK(decoded("up_service", service, {}, numbers) == compact(R"({"id": 3, "slots": 2, "affinity_s": 0,
    "flags": ["maglev", "odd", 8], "port": 80, "protocol": "udp", "v6": 0, "namespace_name": "shop", "name": "web"})"));

  CHECK(decoded("up_backend_key", up_backend_key{.service = 3, .slot = 1}) == R"({"service":3,"slot":1})");
  CHECK(decoded("up_affinity_key", up_affinity_key{.client_netns = 12, .service = 3}) ==
        R"({"client_netns":"12","service":3})");
  const up_affinity affinity{.backend = {.addr = address("fd00::7"), .port = htons(80)}, .last_ns = 5, .slot = 1};
  CHECK(decoded("up_affinity", affinity) == R"({"backend":{"addr":"fd00::7","port":80},"last_ns":5,"slot":1})");
  CHECK(decoded("up_udp_key", up_udp_key{.cookie = 9, .backend = address("10.0.0.7"), .port = htons(53)}) ==
        R"({"cookie":"9","backend":"10.0.0.7","port":53})");
  CHECK(decoded("up_udp", up_udp{.dialled = address("10.96.0.10"), .port = htons(53), .service = 3}) ==
        R"({"dialled":"10.96.0.10","port":53,"service":3})");
  CHECK(decoded("up_traffic_key", up_traffic_key{.client_netns = 1, .server_netns = 2, .service = 3}) ==
        R"({"client_netns":"1","server_netns":"2","service":3,"workload":0,"tunnel":0})");
}

TEST_CASE("btf json: names of enumerators are those of abi_names.h") {
  const Types types;
  const BtfJson decoder(types.types.get(), {});
  const auto check = [&]<typename Enum>(const char* name, Enum) {
    const std::uint32_t id = types.id(name, BTF_KIND_ENUM);
    const btf_type* type = ::btf__type_by_id(types.types.get(), id);
    REQUIRE(btf_vlen(type) > 1);
    for (std::uint32_t i = 0; i < btf_vlen(type); ++i) {
      const auto value = static_cast<Enum>(btf_enum(type)[i].val);
      CAPTURE(::btf__name_by_offset(types.types.get(), btf_enum(type)[i].name_off));
      CHECK(decoder.decode(id, bytes_of(value)) == json::value(name_of(value)));
    }
  };
  check("up_way", up_way{});
  check("up_mode", up_mode{});
  check("up_why", up_why{});
  check("up_tcp_state", up_tcp_state{});
  check("up_flow_event", up_flow_event{});
  check("up_direction", up_direction{});
}

TEST_CASE("btf json: everything else that C has") {
  odd value;
  std::memset(static_cast<void*>(&value), 0xff, sizeof(value));  // padding too
  value.id = 1;
  value.peer_netns = 2;
  value.plain = 9'007'199'254'740'993U;
  value.conn = 4;
  value.port = htons(80);
  value.net = htonl(0x01020304);
  value.wide = __builtin_bswap64(0x0102030405060708U);
  value.low = 5;
  value.high = 123456;
  value.negative = -7;
  value.colour = ODD_COLOUR_DARK_BLUE;
  const std::uint32_t unknown = 99;
  std::memcpy(&value.unknown, &unknown, sizeof(unknown));
  value.sign = ODD_SIGNED_MINUS;
  value.large = ODD_LARGE_HUGE;
  value.single = ODD_SINGLE;
  value.states[0] = UP_TCP_LISTEN;
  value.states[1] = UP_TCP_FIN_WAIT1;
  value.as_number = 0x04030201;
  value.named.tiny = -1;
  value.inner[0] = {.number = -5, .yes = true, .mac = {1, 2, 3, 4, 5, 0xff}};
  value.inner[1] = {.number = 5, .yes = false, .mac = {}};
  std::memcpy(value.text, "t\xffxt\0zzz", 8);
  std::memcpy(value.raw, "\x00\x10\xab", 3);
  value.ratio = 0.5;
  std::memset(&value.pointer, 0, sizeof(value.pointer));
  value.very_large = 255;
  value.addr = address("::1");
  value.direction = UP_INBOUND;
  CHECK(decoded("odd", value) == compact(R"({
    "id": "1", "peer_netns": "2", "plain": 9007199254740993, "conn": 4, "port": 80, "net": 16909060,
    "wide": 72623859790382856, "low": 5, "high": 123456, "negative": -7, "colour": "dark-blue", "unknown": 99,
    "sign": "minus", "large": "huge", "single": "single", "states": ["listen", "fin-wait1"],
    "as_number": 67305985, "as_bytes": "01020304", "named": {"tiny": -1},
    "inner": [{"number": -5, "yes": true, "mac": "0102030405ff"}, {"number": 5, "yes": false, "mac": "000000000000"}],
    "text": "t\ufffdxt", "raw": "0010ab", "ratio": 5E-1, "pointer": "0000000000000000",
    "very_large": "ff000000000000000000000000000000", "addr": "::1",
    "direction": "inbound"})"));
}

TEST_CASE("btf json: a bare 64-bit key is a string, other keys are as values") {
  const Types types;
  const BtfJson decoder(types.types.get(), {});
  const std::uint64_t number = 18'446'744'073'709'551'615U;
  CHECK(decoder.decode_key(types.id("__u64", BTF_KIND_TYPEDEF), bytes_of(number)) == "18446744073709551615");
  CHECK(decoder.decode(types.id("__u64", BTF_KIND_TYPEDEF), bytes_of(number)) == number);
  CHECK(decoder.decode_key(types.id("__u32", BTF_KIND_TYPEDEF), bytes_of(number)) == 4'294'967'295U);
  CHECK(decoder.decode_key(types.id("int", BTF_KIND_INT), bytes_of(number)) == -1);
}

TEST_CASE("btf json: which values are counters") {
  const Types types;
  const BtfJson decoder(types.types.get(), {});
  CHECK(decoder.is_counters(types.id("up_stats")));
  CHECK(decoder.is_counters(types.id("counters")));
  CHECK(decoder.is_counters(types.id("__u64", BTF_KIND_TYPEDEF)));
  CHECK(!decoder.is_counters(types.id("up_config")));
  CHECK(!decoder.is_counters(types.id("up_addr")));
  CHECK(!decoder.is_counters(0));
  CHECK(!decoder.is_counters(999'999));
}

TEST_CASE("btf json: fewer bytes than the type says, or no such type, is hex") {
  const Types types;
  const BtfJson decoder(types.types.get(), {});
  const std::array<std::uint8_t, 3> few{0xab, 0, 1};
  CHECK(decoder.decode(types.id("up_end"), few) == "ab0001");
  CHECK(decoder.decode(types.id("__u64", BTF_KIND_TYPEDEF), few) == "ab0001");
  CHECK(decoder.decode(0, few) == "ab0001");
  CHECK(decoder.decode(999'999, few) == "ab0001");
  CHECK(decoder.decode(types.id("up_end"), {}) == "");
}

TEST_CASE("btf json: any bytes of any length decode to valid JSON as any type") {
  const Types types;
  const std::vector<ArrayNames> names{{.type = "up_stats", .member = "fallbacks", .names = {"none"}}};
  const BtfJson decoder(types.types.get(), names);
  std::mt19937_64 random(7);
  for (std::uint32_t type = 0; type <= ::btf__type_cnt(types.types.get()); ++type) {
    for (const std::size_t size : {0U, 1U, 7U, 8U, 40U, 336U, 1024U}) {
      // Of exactly this size, so that the sanitizer sees the first byte too many.
      const auto bytes = std::make_unique<std::uint8_t[]>(size);
      for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(random());
      const json::value value = decoder.decode_key(type, {bytes.get(), size});
      json::error_code error;
      (void)json::parse(json::serialize(value), error);
      CHECK(!error);
    }
  }
}
