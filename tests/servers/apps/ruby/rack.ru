# Rack, with the middleware that lets forms ask for other methods.

require_relative "visited"

use Rack::MethodOverride
run VISITED
