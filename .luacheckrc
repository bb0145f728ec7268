-- The gateway's modules run in nginx's LuaJIT.
std = "ngx_lua"
max_line_length = 120
