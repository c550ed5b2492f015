// SPDX-License-Identifier: Apache-2.0
// A cluster's worth of Services in the folder of objects: files of ten Services with ten endpoints each, all made up.
#pragma once

#include <string>

#include "test/support/objects.h"

namespace underpass::bench {

inline constexpr int kServicesOfFile = 10;
inline constexpr int kEndpointsOfService = 10;

// File `number` from 0 on. `version`: one endpoint of its first Service is another one in each.
void put_services(const test::Objects& objects, int number, int version = 0);
void remove_services(const test::Objects& objects, int number);
// Where the first and the last Service of that file are dialled, at port 80: in 10.97.0.0/16.
std::string first_address(int number);
std::string last_address(int number);

}  // namespace underpass::bench
