// SPDX-License-Identifier: Apache-2.0
// usage: fake_source KUBECONFIG
//
// A source and its store in a process of their own, so that its memory can be measured. Prints "synced", and then
// "listed again" after a second list of the EndpointSlices. Runs until it is killed.
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <iostream>

#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/api_source.h"
#include "agent/state/store.h"

int main(int argc, char** argv) {
  using namespace underpass;
  if (argc != 2) return 2;
  boost::asio::io_context io(1);
  auto client = k8s::ApiClient::open(io, {.kubeconfig = argv[1], .user_agent = "fake_source"});
  if (!client) {
    std::cerr << client.error().message << "\n";
    return 1;
  }
  state::Store store;
  bool synced = false, listed_again = false;
  const auto source = k8s::ApiSource::make(io, **client, {}, [&](const k8s::Contents& contents) {
    store.update(contents);
    static_cast<void>(store.take_changes());
    if (!synced) std::cout << "synced " << store.snapshot()->slices.size() << std::endl;
    synced = true;
  });
  source->start();
  for (;;) {
    io.run_for(std::chrono::milliseconds(20));
    for (const auto& kind : source->kinds()) {
      if (kind.kind != "EndpointSlice" || listed_again || kind.lists < 2 || kind.stale_since) continue;
      listed_again = true;
      std::cout << "listed again " << kind.objects << std::endl;
    }
  }
}
