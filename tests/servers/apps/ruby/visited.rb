# The application of tests/servers for Rack, and what it shares with the one on Rails.

require "digest/sha1"
require "base64"
require "rack"

FILES = ENV.fetch("VISITED_FILES")
REACHED = ENV.fetch("VISITED_REACHED")

def tell(route, method, path, environ, body)
  if %w[admin login token records].include?(route)
    File.open(REACHED, "a") { |file| file.write("#{route} #{method} #{path.inspect}\n") }
  end
  seen = environ.select { |name, value| value.is_a?(String) && name != "rack.request.form_vars" }.map { |name, value| "#{name}: #{value}" }.join("\n")
  "route=#{route}\nmethod=#{method}\nuri=#{path}\nseen=#{seen.b.unpack1("H*")}\nbody=#{body.b[0, 500].unpack1("H*")}\n".b
end

def password_grant?(environ, body)
  "#{body}?#{environ["QUERY_STRING"]}".include?("grant_type=password")
end

def route_of(method, path, environ, body)
  case path.downcase.chomp("/")
  when %r{\A/admin(/.*)?\z}m then "admin"
  when %r{\A/(login(/(index|login|password))?|signin)\z} then "login"
  when "/api/token" then password_grant?(environ, body) ? "token" : "refresh"
  when %r{\A/records/.*\z}m then %w[PUT PATCH DELETE].include?(method) ? "records" : "plain"
  else "plain"
  end
end

# A WebSocket that echoes short text messages (RFC 6455), on a connection that the server gives away.
def echo(environ)
  proof = Base64.strict_encode64(Digest::SHA1.digest(environ["HTTP_SEC_WEBSOCKET_KEY"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
  environ["rack.hijack"].call
  socket = environ["rack.hijack_io"]
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: #{proof}\r\n\r\n")
  Thread.new do
    while (head = socket.read(2)) && head.getbyte(0) & 15 == 1
      size = head.getbyte(1) & 127
      mask, data = socket.read(4).bytes, socket.read(size).bytes
      text = data.each_with_index.map { |byte, place| byte ^ mask[place % 4] }
      socket.write(([0x81, size] + text).pack("C*"))
    end
  ensure
    socket.close
  end
  [-1, {}, []]
end

VISITED = lambda do |environ|
  path = Rack::Utils.unescape_path(environ["PATH_INFO"])
  case path
  when "/assets/pay", "/assets/large"
    file = FILES + path.delete_prefix("/assets")
    [200, { "Content-Type" => "application/octet-stream", "Content-Length" => File.size(file).to_s }, File.open(file, "rb")]
  when "/assets/cached"
    known = environ["HTTP_IF_NONE_MATCH"] == '"1"'
    known ? [304, { "ETag" => '"1"' }, []] : [200, { "ETag" => '"1"', "Content-Length" => "6" }, ["cached"]]
  when "/assets/empty", "/assets/kept"
    [path.end_with?("empty") ? 204 : 304, {}, [File.binread("#{FILES}/pay")]]
  when "/assets/ws"
    environ["HTTP_UPGRADE"] && environ["rack.hijack?"] ? echo(environ) : [426, {}, []]
  else
    input = environ["rack.input"]
    input.rewind if input.respond_to?(:rewind)
    body = input.read.to_s
    text = tell(route_of(environ["REQUEST_METHOD"], path, environ, body), environ["REQUEST_METHOD"], path, environ, body)
    [200, { "Content-Type" => "text/plain", "Content-Length" => text.bytesize.to_s }, [text]]
  end
end
