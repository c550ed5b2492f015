// SPDX-License-Identifier: Apache-2.0
#include "test/netns/faults/accounts.h"

#include <sstream>

#include "test/netns/proxy/lines.h"

namespace underpass::test {
namespace {

// What stands between `label` and the next of `stop`; empty: nowhere.
std::string between(const std::string& line, const std::string& label, const char* stop) {
  const auto at = line.find(label);
  if (at == std::string::npos) return {};
  const auto begin = at + label.size();
  return line.substr(begin, line.find_first_of(stop, begin) - begin);
}

}  // namespace

std::string to_string(const Ends& ends) {
  std::string out;
  for (const auto& [end, count] : ends) out += (out.empty() ? "" : ", ") + end + ": " + std::to_string(count);
  return out;
}

Ends logged(const Scene& scene) {
  Ends out;
  for (const std::string& line : access_log(scene))
    if (line.contains(R"("method":)"))
      ++out[between(line, R"("flags":")", "\"") + " " + between(line, R"("code":)", ",")];
  return out;
}

Ends metered(const Scene& scene, const std::string& reporter) {
  const std::string listen = text_of(scene.world.ctl.json({"status"}).at("listen").at("metrics"));
  std::istringstream lines(run_ok({.argv = {"curl", "-sSf", "http://" + listen + "/metrics"}}));
  Ends out;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("istio_requests_total{") || !line.contains("reporter=\"" + reporter + "\"")) continue;
    const std::string code = between(line, "response_code=\"", "\"");
    out[between(line, "response_flags=\"", "\"") + " " + (code == "0" ? "null" : code)] +=
        static_cast<std::size_t>(std::stod(line.substr(line.rfind(' '))));
  }
  return out;
}

void check_accounts(const Scene& scene, const Ends& wanted, const std::string& reporter) {
  Ends in_log, in_metric;
  const bool same = eventually(seconds(10), [&] {
    in_log = logged(scene);
    in_metric = metered(scene, reporter);
    return in_log == wanted && in_metric == wanted;
  });
  CHECK_MESSAGE(same, "wanted " << to_string(wanted) << "; the log has " << to_string(in_log) << "; the metric has "
                                << to_string(in_metric));
}

}  // namespace underpass::test
