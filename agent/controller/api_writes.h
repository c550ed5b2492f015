// SPDX-License-Identifier: Apache-2.0
// What the controller's parts say to the API server in the same way.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "agent/k8s/api/api_client.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::controller {

inline constexpr unsigned kNotFound = 404;
inline constexpr unsigned kConflict = 409;

// "/api/v1/namespaces/NS/secrets"
std::string core_path(const NamespacedName& id, const std::string& plural);

// What is wrong with an answer, with the verb and the thing before it; nothing where it is 2xx.
Result<void> check_answer(const std::string& what, const Result<k8s::ApiAnswer>& answer);

// PUT where the object is there, else POST into its collection.
void write_object(k8s::ApiClient& client, const std::string& collection, const std::string& name, bool is_there,
                  const boost::json::value& object, k8s::ApiClient::Done done);

}  // namespace underpass::controller
