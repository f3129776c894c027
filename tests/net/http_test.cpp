#include "tests/net/server_fixture.h"

using namespace kvasir;
using namespace kvasir::test;
using rpc::Json;

TEST_CASE("http: a posted request is answered with status 200 and its id") {
  const ServerFixture server;
  const auto answer = server.ask(post("/rpc", R"({"jsonrpc":"2.0","id":1.0,"method":"echo","params":{"a":1}})"));
  CHECK(answer.status == 200);
  CHECK(answer.body == R"({"jsonrpc":"2.0","id":1.0,"result":{"a":1}})");
  CHECK(answer.headers.at("content-type") == "application/json");
}
