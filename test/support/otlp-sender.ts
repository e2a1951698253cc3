/** Python that sends spans to where its sandbox takes them, by nothing but its standard library: `send(spans)` answers status and body. */
export const SENDER = `
import gzip, json, os, time, urllib.error, urllib.request
now = time.time_ns
def own_place():
    _, trace, parent, _ = os.environ["TRACEPARENT"].split("-")
    return {"traceId": trace, "parentSpanId": parent}
def span(span_id, **more):
    return {"spanId": span_id, "name": "work", "kind": 1, "startTimeUnixNano": str(now() - 2000000), "endTimeUnixNano": str(now()), **own_place(), **more}
def document(spans, service="agent"):
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "by hand"}, "spans": spans}]}]}
def post(body, path="/v1/traces", **headers):
    headers = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    asked = urllib.request.Request(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + path, body, headers)
    try:
        answer = urllib.request.urlopen(asked, timeout=20)
        return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
def send(spans):
    return post(json.dumps(document(spans)).encode())
`;
