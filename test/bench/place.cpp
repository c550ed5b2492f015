// SPDX-License-Identifier: Apache-2.0
#include "test/bench/place.h"

#include <fcntl.h>
#include <sched.h>

#include "test/support/files.h"

namespace underpass::bench {

void enter(const Place& place) {
  if (!place.cgroup.empty()) test::write_existing(place.cgroup + "/cgroup.procs", "0");
  if (!place.netns.empty()) {
    const UniqueFd netns = test::open_file(place.netns, O_RDONLY);
    if (::setns(netns.get(), CLONE_NEWNET) != 0) test::throw_errno("enter " + place.netns);
  }
  if (place.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<unsigned>(place.cpu), &cpus);
    if (::sched_setaffinity(0, sizeof cpus, &cpus) != 0) test::throw_errno("pin to CPU " + std::to_string(place.cpu));
  }
}

}  // namespace underpass::bench
