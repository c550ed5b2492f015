// SPDX-License-Identifier: Apache-2.0
// A cluster for the API server of the tests: nodes, pods as large as real ones are, a Service and an EndpointSlice for
// every ten of them.
#pragma once

#include "test/support/fake_api.h"

namespace underpass::bench {

inline constexpr int kClusterNodes = 100;
inline constexpr int kClusterPods = 2000;
inline constexpr int kPodsOfService = 10;
inline constexpr int kClusterNamespaces = 20;

void put_cluster(test::FakeApi& api);
// What becomes of one pod after the other, now on this node and now on that: it and its slice are updated.
void change_cluster(test::FakeApi& api, int number);
// One namespace more.
void put_namespace(test::FakeApi& api, const std::string& name);

}  // namespace underpass::bench
