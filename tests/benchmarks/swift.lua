-- What nginx has to say like Swift; the bytes of objects it sends by itself.
--
-- nginx cannot be told an ETag that its own If-Match would believe, so the condition is
-- answered here and taken away, and the header is added to the answer (see server_block).

local CONTAINER = "images"
local WRITTEN = "2026-11-22T10:00:00.000000"

return function(objects)
  local swift, by_name, bytes = {}, {}, 0
  for _, object in ipairs(objects) do
    by_name[object.name] = object
    bytes = bytes + object.size
  end

  local function answer_list(rows)
    ngx.header["Content-Type"] = "application/json; charset=utf-8"
    ngx.header["Content-Length"] = #rows
    ngx.print(rows)
  end

  -- Before everything: the latency of the cluster.
  function swift.wait()
    local seconds = tonumber(ngx.var.latency)
    if seconds > 0 then ngx.sleep(seconds) end
    ngx.header["X-Trans-Id"] = "tx" .. ngx.var.request_id
    ngx.header["X-Timestamp"] = "1795341600.00000"
  end

  function swift.authenticate()
    ngx.header["X-Storage-Url"] = ngx.var.scheme .. "://127.0.0.1:" .. ngx.var.server_port .. "/v1/AUTH_bench"
    ngx.header["X-Auth-Token"] = "AUTH_tkbench"
    ngx.header["X-Storage-Token"] = "AUTH_tkbench"
    ngx.header["Content-Length"] = 0
  end

  function swift.info()
    answer_list('{"swift": {"version": "2.38.0", "container_listing_limit": 10000, '
      .. '"max_file_size": 5368709122}, "slo": {"max_manifest_segments": 1000}, "tempauth": {}}')
  end

  function swift.account()
    ngx.header["X-Account-Container-Count"] = 1
    ngx.header["X-Account-Object-Count"] = #objects
    ngx.header["X-Account-Bytes-Used"] = bytes
    if ngx.req.get_method() == "HEAD" then return ngx.exit(204) end
    local marker = ngx.req.get_uri_args().marker or ""
    if marker >= CONTAINER then return answer_list("[]") end
    answer_list(string.format('[{"name": "%s", "count": %d, "bytes": %.0f, "last_modified": "%s"}]',
      CONTAINER, #objects, bytes, WRITTEN))
  end

  function swift.container()
    ngx.header["X-Container-Object-Count"] = #objects
    ngx.header["X-Container-Bytes-Used"] = bytes
    ngx.header["X-Storage-Policy"] = "Policy-0"
    if ngx.req.get_method() == "HEAD" then return ngx.exit(204) end
    local asked, rows = ngx.req.get_uri_args(), {}
    local prefix, marker = asked.prefix or "", asked.marker or ""
    local limit = tonumber(asked.limit) or 10000
    for _, object in ipairs(objects) do
      if object.name > marker and object.name:sub(1, #prefix) == prefix and #rows < limit then
        rows[#rows + 1] = string.format('{"name": "%s", "bytes": %.0f, "hash": "%s", '
          .. '"content_type": "application/octet-stream", "last_modified": "%s"}',
          object.name, object.size, object.etag, WRITTEN)
      end
    end
    answer_list("[" .. table.concat(rows, ", ") .. "]")
  end

  -- Before nginx sends an object.
  function swift.object()
    swift.wait()
    local object = by_name[ngx.var.object]
    if not object then return ngx.exit(404) end
    local condition = ngx.var.http_if_match
    if condition and condition ~= "*" and not condition:find(object.etag, 1, true) then
      return ngx.exit(412)
    end
    ngx.req.clear_header("If-Match")
    ngx.var.md5 = object.etag
  end

  return swift
end
