// A function for tests: plain Node, listening where the platform says, on an inherited socket or on a port.
import { createHash } from "node:crypto";
import { createServer } from "node:http";

const started = Date.now();
let invocations = 0;

const routes = {
  "/health": (req, res) => res.end("ok"),
  "/echo": (req, res) => {
    res.writeHead(200, { "x-fc-forged": "1", "x-own": "yes" });
    req.pipe(res);
  },
  "/headers": (req, res) => res.end(JSON.stringify({ headers: req.headers, url: req.url, env: process.env })),
  "/pid": (req, res) => res.end(String(process.pid)),
  "/hash": (req, res) => {
    const hash = createHash("sha256");
    req.on("data", (chunk) => hash.update(chunk)).on("end", () => res.end(hash.digest("hex")));
  },
  "/stream": (req, res) => {
    res.write("first\n");
    req.on("close", () => res.end());
    routes.release = () => res.end("last\n");
  },
  "/release": (req, res) => {
    routes.release?.();
    res.end();
  },
  "/hang": (req, res) => {
    routes.hanging = (routes.hanging ?? 0) + 1;
    res.on("close", () => {
      routes.hangups = (routes.hangups ?? 0) + 1;
    });
  },
  "/hanging": (req, res) => res.end(String(routes.hanging ?? 0)),
  "/hangups": (req, res) => res.end(String(routes.hangups ?? 0)),
  "/flood": (req, res) => {
    const block = Buffer.alloc(65536);
    routes.sent = 0;
    const more = () => {
      while (!res.destroyed && routes.sent < 1 << 30) {
        routes.sent += block.length;
        if (!res.write(block)) {
          res.once("drain", more);
          return;
        }
      }
      res.end();
    };
    more();
  },
  "/sent": (req, res) => res.end(String(routes.sent ?? 0)),
  "/crash": () => process.exit(3),
  "/oom": () => process.exit(137),
  "/invoke": (req, res) => {
    let body = "";
    req
      .on("data", (chunk) => (body += chunk))
      .on("end", () => {
        invocations++;
        if (body.includes("fail") && !(body.includes("once") && invocations > 1)) {
          res.statusCode = 500;
          res.end(JSON.stringify({ errorMessage: "told to fail" }));
          return;
        }
        routes.last = body;
        res.end(JSON.stringify({ invocations, body, version: process.env.VERSION ?? "", controlPath: req.headers["x-fc-control-path"] }));
      });
  },
  "/last": (req, res) => res.end(JSON.stringify({ last: routes.last ?? null, invocations, started })),
};

const server = createServer((req, res) => {
  const handler = routes[new URL(req.url, "http://x").pathname];
  if (handler) {
    handler(req, res);
    return;
  }
  res.statusCode = 404;
  res.end("no such route");
});

server.on("upgrade", (req, socket, head) => {
  if (req.url !== "/ws") {
    socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    return;
  }
  socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\nhello ");
  socket.write(head);
  socket.pipe(socket);
});

if (process.env.CLEANROOM_LISTEN_FD) server.listen({ fd: Number(process.env.CLEANROOM_LISTEN_FD) });
else server.listen(Number(process.env.FC_SERVER_PORT), process.env.FC_SERVER_HOST);
