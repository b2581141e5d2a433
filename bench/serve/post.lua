-- For wrk: posts the sentences of the file SENTENCES, one per request, and prints the result as JSON.
local bodies = {}
for line in io.lines(os.getenv("SENTENCES")) do
  bodies[#bodies + 1] = '{"texts": ["' .. line:gsub('[%c"\\]', ' ') .. '"]}'
end

local next_body = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function request()
  next_body = next_body % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[next_body])
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.3f, "p50_ms": %.2f, "p95_ms": %.2f, "p99_ms": %.2f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
