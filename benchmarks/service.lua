-- Asks wrk's questions, one after the other, and compares every answer: a status of 200 and a body
-- that the service gave before, asked alone. benchmarks/service.py writes both files.
local requests, known = {}, {}
local position, wrong = 0, 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  for body in io.lines(arguments[1]) do
    table.insert(requests, wrk.format("POST", "/v1/predict", nil, body))
  end
  for body in io.lines(arguments[2]) do
    known[body] = true
  end
  wrong_answers = 0
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function response(status, headers, body)
  if status ~= 200 or not known[body] then
    wrong_answers = wrong_answers + 1
  end
end

function done(summary, latency)
  local errors = summary.errors
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong_answers")
  end
  local sockets = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    "\nRESULT %d %d %d %d %d %d\n", summary.requests, summary.duration, wrong, sockets,
    latency:percentile(50), latency:percentile(99)
  ))
end
