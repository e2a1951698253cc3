import * as fc from "fast-check";

/** The part of a request that says how long it is, and a body in which another request hides. */
export interface Framing {
  headers: readonly string[];
  body: Buffer;
  version: string;
}

const CRLF = "\r\n";

/** Forms of one length, of which each says it exactly or has to be refused. */
function lengths(size: number): fc.Arbitrary<readonly string[]> {
  const other = fc.constantFrom(0, 1, Math.max(0, size - 1), size + 1);
  return fc.oneof<fc.MaybeWeightedArbitrary<readonly string[]>[]>(
    { weight: 6, arbitrary: fc.constant([`Content-Length: ${size}`]) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        [`content-length:${size}`],
        [`Content-Length: 00${size}`],
        [`Content-Length:\t${size} `],
        [`Content-Length: ${size}`, `Content-Length: ${size}`],
        [`Content-Length: ${size}, ${size}`],
      ),
    },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        ...["+", "-", "0x", "\x0b", "\0", "\r", "'", "1e"].map((mark) => [`Content-Length: ${mark}${size}`]),
        ...["\0", ";", " 0", ",", ".0", "\x0b", "\r\r", "e0", "\u00b2"].map((mark) => [`Content-Length: ${size}${mark}`]),
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        [`Content-Length : ${size}`],
        [`Content-Length: ${size}`, ` Content-Length: 0`],
        [`Content-Length:${CRLF} ${size}`],
        [`Content-Length: ${size}${CRLF}\t`],
        [`X: y\rContent-Length: 0${CRLF}Content-Length: ${size}`],
      ),
    },
    {
      weight: 2,
      arbitrary: other
        .chain((wrong) =>
          fc.constantFrom(
            [`Content-Length: ${wrong}`, `Content-Length: ${size}`],
            [`Content-Length: ${size}`, `Content-Length: ${wrong}`],
            [`Content-Length: ${wrong}, ${size}`],
          ),
        )
        .filter(([one = "", two]) => one !== two),
    },
  );
}

/** Codings that are chunked, or have to be refused, or are passed over where a length is there as well. */
const codings = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("Transfer-Encoding: chunked", "transfer-encoding:CHUNKED", "Transfer-Encoding:\tchunked ") },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...[
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "chunked, chunked",
        "gzip, chunked",
        "\x0bchunked",
        "chunked\0",
        '"chunked"',
        "chunked;a=b",
        ",chunked",
        "chunke",
        "c\rhunked",
        "identity",
      ].map((value) => `Transfer-Encoding: ${value}`),
      "Transfer-Encoding : chunked",
      " Transfer-Encoding: chunked",
      `Transfer-Encoding:${CRLF} chunked`,
      `Transfer-Encoding: chunked${CRLF}Transfer-Encoding: identity`,
      `Transfer-Encoding: identity${CRLF}Transfer-Encoding: chunked`,
      "X: y\nTransfer-Encoding: chunked",
      `X: y\rTransfer-Encoding: chunked`,
    ),
  },
);

/** A body in chunks whose sizes are right, written in ways that are right or have to be refused. */
function chunked(content: Buffer): fc.Arbitrary<Buffer> {
  const form = fc.oneof(
    { weight: 8, arbitrary: fc.constant((hex: string) => hex) },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        (hex: string) => `000${hex}`,
        (hex: string) => hex.toUpperCase(),
        (hex: string) => `${hex};a=b`,
        (hex: string) => `${hex};a="${CRLF.length}"`,
        (hex: string) => `${hex} ;x`,
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        (hex: string) => `0x${hex}`,
        (hex: string) => `+${hex}`,
        (hex: string) => `-${hex}`,
        (hex: string) => `${hex}\n`,
        (hex: string) => `${hex};\n`,
        (hex: string) => `${hex}\r;`,
        (hex: string) => `fffffffffffffff${hex}`,
        (hex: string) => `${hex},`,
        (hex: string) => ` ${hex}`,
        (hex: string) => `${hex}g`,
      ),
    },
  );
  const trailer = fc.constantFrom("", "", "X: y\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: identity\r\n", "Host: other\r\n");
  return fc.tuple(fc.array(fc.nat(content.length), { maxLength: 3 }), fc.infiniteStream(form), trailer).map(([cuts, forms, last]) => {
    const at = [...new Set([0, ...cuts, content.length])].toSorted((a, b) => a - b);
    const parts = at.slice(1).map((end, index) => {
      const piece = content.subarray(at[index], end);
      const size = forms.next().value(piece.length.toString(16));
      return Buffer.concat([Buffer.from(`${size}${CRLF}`), piece, Buffer.from(CRLF)]);
    });
    return Buffer.concat([...parts, Buffer.from(`0${CRLF}${last}${CRLF}`)]);
  });
}

/**
 * Framings of a body that holds `hidden`, a request. By the standard each is refused, or all of the body is the body's:
 * who serves what is hidden has read a request that was never sent.
 */
export function smuggling(hidden: string): fc.Arbitrary<Framing> {
  const around = fc.tuple(
    fc.constantFrom("", "x", `${CRLF}${CRLF}`, `0${CRLF}${CRLF}`, "{}", "1\r\nx\r\n0\r\n\r\n"),
    fc.constantFrom("", "x", CRLF, `0${CRLF}${CRLF}`),
  );
  const content = around.map(([before, after]) => Buffer.from(before + hidden + after));
  const version = fc.oneof(
    { weight: 12, arbitrary: fc.constant("HTTP/1.1") },
    { weight: 1, arbitrary: fc.constantFrom("HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1") },
  );
  const withLength = content.chain((body) => lengths(body.length).map((headers) => ({ headers, body })));
  const withChunks = fc.tuple(content.chain(chunked), codings).map(([body, coding]) => ({ headers: [coding], body }));
  const withBoth = fc
    .tuple(fc.oneof(content, content.chain(chunked)), codings, fc.boolean())
    .chain(([body, coding, first]) =>
      lengths(body.length).map((headers) => ({ headers: first ? [coding, ...headers] : [...headers, coding], body })),
    );
  const more = fc.constantFrom(
    "",
    "",
    "",
    "Connection: content-length",
    "Connection: transfer-encoding, keep-alive",
    "Expect: 100-continue",
    "Connection: upgrade\r\nUpgrade: websocket",
    "Connection: upgrade\r\nUpgrade: h2c",
    "TE: trailers",
    "Keep-Alive: timeout=5",
  );
  return fc.tuple(fc.oneof(withLength, withChunks, withBoth), more, version).map(([{ headers, body }, one, spoken]) => ({
    headers: one === "" ? headers : [...headers, one],
    body,
    version: spoken,
  }));
}

/** Bytes that are nearly requests, or nothing like it. */
export const nonsense: fc.Arbitrary<Buffer> = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(
      fc.constantFrom("GET", "get", "G\0T", "", "PRI * HTTP/2.0", "CONNECT", "TRACE", "M".repeat(1000)),
      fc.constantFrom(" ", "\t", "  ", "\x0b"),
      fc.constantFrom(
        "/health",
        "*",
        "",
        "http://other/health",
        "/health#x",
        "/\u00ff",
        "/%",
        "health",
        "//",
        "/k/",
        `/${"x".repeat(20_000)}`,
        "/health HTTP/1.1",
      ),
      fc.constantFrom(" HTTP/1.1", " HTTP/1.0", " HTTP/1.11", "", " HTTP/9", " HTTP/1.1 x", " RTSP/1.0"),
      fc.array(
        fc.constantFrom(
          "Host: door",
          "Host:",
          "Host: a\r\nHost: b",
          "Host: [",
          "Host: a b",
          ":",
          "x",
          "X : y",
          " folded",
          "X:\0",
          "X: \u00ff",
          "X: a\rb",
          "X: a\nb",
          `X: ${"y".repeat(20_000)}`,
          "Connection: close, upgrade",
          "Upgrade: websocket",
          "Expect: something",
          "Content-Length: 99999999999999999999",
          "Cookie: a=b",
        ),
        { maxLength: 6 },
      ),
      fc.constantFrom("\r\n", "\n", "\r"),
      fc.constantFrom("\r\n\r\n", "\n\n", "\r\n", ""),
    )
    .map(([method, blank, target, version, headers, line, end]) =>
      Buffer.from([`${method}${blank}${target}${version}`, ...headers].join(line) + end, "latin1"),
    ),
  fc
    .tuple(fc.integer({ min: 50, max: 3000 }), fc.boolean())
    .map(([count, ended]) => Buffer.from(`GET /health HTTP/1.1\r\n${"X: y\r\n".repeat(count)}${ended ? "\r\n" : ""}`)),
);
