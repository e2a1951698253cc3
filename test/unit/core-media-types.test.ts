import assert from "node:assert/strict";
import { test } from "node:test";
import { isActive, mediaTypeOf, settledType } from "#core/media-types.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");

test("a file is what its bytes are, whatever it is called", () => {
  const cases: [string, string, string][] = [
    ["\x89PNG\r\n\x1a\n....", "page.html", "image/png"],
    ["\xff\xd8\xff\xe0", "x.txt", "image/jpeg"],
    ["GIF89a;", "x", "image/gif"],
    ["RIFF\0\0\0\0WEBPVP8 ", "x.csv", "image/webp"],
    ["%PDF-1.7\n%\xe2", "x.txt", "application/pdf"],
    ["PK\x03\x04....", "book.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
    ["PK\x03\x04....", "book.html", "application/zip"],
    ["\x1f\x8b\x08", "x.json", "application/gzip"],
    ["<!DOCTYPE html><p>", "notes.txt", "text/html"],
    ["  \n<script>alert(1)</script>", "picture.png", "text/html"],
    ["\xef\xbb\xbf<html>", "data.csv", "text/html"],
    ['<?xml version="1.0"?>\n<svg onload="x()">', "logo.png", "image/svg+xml"],
    ["<svg onload=x()>", "notes.md", "image/svg+xml"],
    ['<?xml version="1.0"?><a/>', "a.txt", "application/xml"],
    ["# hi\n", "notes.md", "text/markdown"],
    ["a,b\n1,2\n", "data.csv", "text/csv"],
    ["just words", "page.html", "text/plain"],
    ["just words", "logo.svg", "text/plain"],
    ["just words", "constructor", "text/plain"],
    ["\x00\x01\x02", "notes.md", "application/octet-stream"],
    ["\xc3\x28 no UTF-8", "notes.md", "application/octet-stream"],
  ];
  for (const [content, name, expected] of cases) assert.equal(mediaTypeOf(bytes(content), name), expected, `${name}: ${content}`);
  assert.equal(mediaTypeOf(Buffer.from(`${"x".repeat(4094)}é`).subarray(0, 4095), "a.txt"), "text/plain", "a letter may be cut");
});

test("its keeper's word counts, but never makes a page of what is none, nor hides one", () => {
  assert.equal(settledType(bytes("words"), "a", "text/x-own"), "text/x-own");
  assert.equal(settledType(bytes("words"), "a", "text/html"), "text/plain");
  assert.equal(settledType(bytes("words"), "a", "application/xhtml+xml; charset=utf-8"), "text/plain");
  assert.equal(settledType(bytes("<script>1</script>"), "a", "text/plain"), "text/html");
  assert.equal(settledType(bytes("<svg>"), "a", undefined), "image/svg+xml");
  assert.ok(isActive("Image/SVG+XML") && isActive(" text/html;x") && !isActive("text/plain"));
});
