// A server of HTTP/2 alone, for tests: [CERTIFICATE KEY]. It says its port; paths tell it how to answer.
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [certificate, key] = process.argv.slice(2);
const server = certificate
  ? http2.createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) })
  : http2.createServer();
server.on("sessionError", () => {});
server.on("session", (session) => session.on("error", () => {}));
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const chunks = [];
  stream.on("data", (chunk) => chunks.push(chunk));
  stream.on("end", () => answer(stream, headers, Buffer.concat(chunks)));
});

function answer(stream, headers, body) {
  const path = headers[":path"];
  const word = path.split("?")[0].split("/")[1];
  const status = Number(/status.(\d+)/.exec(path)?.[1] ?? 200);
  if (word === "reset") return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
  if (word === "silent") return undefined;
  if (word === "early") stream.additionalHeaders({ ":status": 103, link: "</style.css>; rel=preload" });
  if (word === "large") {
    stream.respond({ ":status": 200, "content-type": "application/octet-stream" });
    return stream.end(Buffer.alloc(5_000_000, "x"));
  }
  if (word === "split") {
    // The head, and a frame of the body as long as its own head: nginx has read 9 bytes of 9.
    stream.respond({ ":status": 200, "content-length": "9" });
    setTimeout(() => stream.end("123456789"), 50);
    return undefined;
  }
  if (word === "empty") return stream.respond({ ":status": 200, "content-length": "0" }, { endStream: true });
  if (word === "open") {
    const all = { "access-control-allow-origin": "*", "access-control-allow-credentials": "true", "alt-svc": 'h3=":1"' };
    return stream.respond({ ":status": 200, "x-request-id": "theirs", ...all }, { endStream: true });
  }
  if (word === "moved") return stream.respond({ ":status": 302, location: "/things" }, { endStream: true });
  if (word === "trailers") {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ checksum: "abc" }));
    return stream.end("with trailers");
  }
  if ([204, 304].includes(status)) return stream.respond({ ":status": status }, { endStream: true });
  const told = JSON.stringify({ headers, length: body.length });
  const head = { ":status": status, "content-type": "application/json", "content-length": Buffer.byteLength(told) };
  if (headers[":method"] === "HEAD") return stream.respond(head, { endStream: true });
  stream.respond(head);
  return stream.end(told);
}

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
