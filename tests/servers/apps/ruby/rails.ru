# A Rails application in one file: Rails' own routing says what a request is.

ENV["RAILS_ENV"] = "production"
require "action_controller/railtie"
require_relative "visited"

class Visited < Rails::Application
  config.eager_load = true
  config.logger = Logger.new($stderr, level: Logger::FATAL)
  config.secret_key_base = "x" * 64
  config.hosts.clear
  config.public_file_server.enabled = false
  config.action_dispatch.show_exceptions = true
end

class AnswersController < ActionController::Base
  skip_forgery_protection raise: false

  def told
    body = request.raw_post.to_s
    route = params[:route]
    route = "refresh" if route == "token" && !password_grant?(request.env, body)
    render plain: tell(route, request.request_method, Rack::Utils.unescape_path(request.path), request.env, body)
  end

  def stored
    send_file "#{FILES}/#{params[:name]}", type: "application/octet-stream"
  end

  def cached
    fresh_when(etag: "1", template: false) ? nil : render(plain: "cached")
  end

  def empty
    render plain: File.binread("#{FILES}/pay"), status: params[:status].to_i
  end
end

Visited.initialize!
Visited.routes.draw do
  with_options controller: "answers", via: :all do
    match "/assets/:name", action: "stored", constraints: { name: /pay|large/ }
    match "/assets/cached", action: "cached"
    match "/assets/empty", action: "empty", defaults: { status: "204" }
    match "/assets/kept", action: "empty", defaults: { status: "304" }
    match "/login", action: "told", defaults: { route: "login" }
    match "/login/index", action: "told", defaults: { route: "login" }
    match "/signin", action: "told", defaults: { route: "login" }
    match "/api/token", action: "told", defaults: { route: "token" }
    match "/admin(/*rest)", action: "told", defaults: { route: "admin" }
  end
  %i[put patch delete].each { |method| send(method, "/records/*rest", to: "answers#told", defaults: { route: "records" }) }
  match "/(*rest)", to: "answers#told", via: :all, defaults: { route: "plain" }
end

run Visited
