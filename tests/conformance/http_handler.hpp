// tests/conformance/http_handler.hpp: what the operations with HTTP servers share.
#pragma once

#include "tests/conformance/driver.hpp"

#include <weir/net/http_server.hpp>

#include <string>
#include <string_view>

namespace weir::conformance {

/// The characters that bytes are in Latin-1, as Node reads heads.
std::string latin1_text(std::string_view bytes);
json header_pairs(const net::http::header_list& headers);

/// All of a request's body.
task<std::string> read_body(net::http::request& req);

/// Answers with what was asked, as JSON.
task<> echo(net::http::request& req, net::http::response& res, std::string_view body);

/// Node's server options as ours.
net::http::server_options server_options_of(const json& given);

}  // namespace weir::conformance
