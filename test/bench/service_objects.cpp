// SPDX-License-Identifier: Apache-2.0
#include "test/bench/service_objects.h"

namespace underpass::bench {
namespace {

// The n-th address of a network whose first two numbers are a.b; it may reach into the next ones.
std::string ip(int a, int b, int n) {
  return std::to_string(a) + "." + std::to_string(b + n / 65536) + "." + std::to_string(n / 256 % 256) + "." +
         std::to_string(n % 256);
}

std::string file_of(int number) { return "services-" + std::to_string(number) + ".yaml"; }
std::string address_of(int service) { return ip(10, 97, service + 1); }

}  // namespace

void put_services(const test::Objects& objects, int number, int version) {
  std::string text;
  for (int i = 0; i < kServicesOfFile; ++i) {
    const int service = number * kServicesOfFile + i;
    const std::string name = "s" + std::to_string(service);
    test::EndpointSliceObject slice{
        .ns = "many", .name = name + "-x", .service = name, .ports = {{.name = "http", .port = 8080}}};
    for (int n = 0; n < kEndpointsOfService; ++n)
      slice.endpoints.push_back({.ip = ip(10, 128, service * kEndpointsOfService + n)});
    if (i == 0 && version > 0) slice.endpoints[0].ip = ip(10, 192, version);
    text += "---\n" + test::to_yaml(test::ServiceObject{.ns = "many",
                                                        .name = name,
                                                        .cluster_ips = {address_of(service)},
                                                        .ports = {{.name = "http", .port = 80, .target = "8080"}}});
    text += "---\n" + test::to_yaml(slice);
  }
  objects.put_text(file_of(number), text);
}

void remove_services(const test::Objects& objects, int number) { objects.remove_text(file_of(number)); }

std::string first_address(int number) { return address_of(number * kServicesOfFile); }
std::string last_address(int number) { return address_of(number * kServicesOfFile + kServicesOfFile - 1); }

}  // namespace underpass::bench
