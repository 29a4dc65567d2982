local pending, prefix = {}, ngx.config.prefix()
for _, name in ipairs { "resty.lua", "nginx.conf" } do
    os.remove(prefix .. name)
end

local function flatten(out, value)
    if type(value) == "table" then
        for _, element in ipairs(value) do
            flatten(out, element)
        end
    elseif value == ngx.null then
        out[#out + 1] = "null"
    else
        out[#out + 1] = tostring(value)
    end
end

local function write(newline, ...)
    local out = {}
    for n = 1, select("#", ...) do
        flatten(out, (select(n, ...)))
    end
    out[#out + 1] = newline
    io.stdout:write(table.concat(out))
    return 1
end

function ngx.print(...)
    return write("", ...)
end

function ngx.say(...)
    return write("\n", ...)
end

function print(...)
    local out = {}
    for n = 1, select("#", ...) do
        out[n] = tostring((select(n, ...)))
    end
    return write("\n", table.concat(out, "\t"))
end

function ngx.flush()
    io.stdout:flush()
    return 1
end

local function leave(status)
    io.stdout:flush()
    for _, dir in ipairs { "client_body_temp", "proxy_temp", "fastcgi_temp", "uwsgi_temp", "scgi_temp", "logs" } do
        os.remove(prefix .. dir)
    end
    os.remove(prefix .. "resty.pid")
    os.remove((prefix:gsub("/$", "")))
    os.exit(status)
end

function ngx.exit(status)
    leave(status >= 0 and status or 1)
end

local function run(code, name)
    pending[#pending + 1] = { code, name }
end

local function start(arg)
    ngx.timer.at(0, function()
        for _, script in ipairs(pending) do
            local f, message = loadstring(script[1], script[2])
            if not f then
                io.stderr:write("ERROR: ", message, "\n")
                leave(1)
            end
            local ok, failure = xpcall(f, function(e)
                return debug.traceback(tostring(e), 2)
            end, unpack(arg))
            if not ok then
                io.stderr:write("ERROR: ", tostring(failure), "\n")
                leave(1)
            end
        end
        leave(0)
    end)
end

