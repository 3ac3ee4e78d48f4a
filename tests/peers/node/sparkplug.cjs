// Eclipse Tahu's decoder (npm sparkplug-payload): payloads in hex on stdin, one a line, to one JSON object a line.
const { decodePayload } = require("sparkplug-payload").get("spBv1.0");
const plain = (key, value) => (value && value.constructor && value.constructor.name === "Long" ? value.toString() : value);

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => console.log(JSON.stringify(decodePayload(Buffer.from(line, "hex")), plain)));
