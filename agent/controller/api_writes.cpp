// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/api_writes.h"

#include <utility>

namespace underpass::controller {

std::string core_path(const NamespacedName& id, const std::string& plural) {
  return "/api/v1/namespaces/" + id.ns + "/" + plural;
}

Result<void> check_answer(const std::string& what, const Result<k8s::ApiAnswer>& answer) {
  if (!answer) return fail_in(what, answer.error());
  if (answer->status / 100 == 2) return {};
  return fail(what + ": " + k8s::describe(*answer));
}

void write_object(k8s::ApiClient& client, const std::string& collection, const std::string& name, bool is_there,
                  const boost::json::value& object, k8s::ApiClient::Done done) {
  if (is_there)
    client.request("PUT", collection + "/" + name, object, std::move(done));
  else
    client.request("POST", collection, object, std::move(done));
}

}  // namespace underpass::controller
