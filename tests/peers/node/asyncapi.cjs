// AsyncAPI's own parser over a document on stdin: one JSON object with its diagnostics and what it made of it.
const { Parser } = require("@asyncapi/parser");
const fs = require("fs");

new Parser().parse(fs.readFileSync(0, "utf8")).then(({ document, diagnostics }) => {
  const found = diagnostics.map(({ code, message, path, severity }) => ({ code: String(code), message, path, severity }));
  const channels = document ? document.channels().all().map((channel) => channel.address()) : null;
  const operations = document ? document.operations().all().map((each) => [each.id(), each.action()]) : null;
  console.log(JSON.stringify({ diagnostics: found, channels, operations }));
});
