<?php
// The application of tests/servers on Symfony's HttpKernel: its router says what a request is.

require '/usr/share/php/Symfony/Component/HttpKernel/autoload.php';
require '/usr/share/php/Symfony/Component/Routing/autoload.php';

use Symfony\Component\EventDispatcher\EventDispatcher;
use Symfony\Component\HttpFoundation\BinaryFileResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\RequestStack;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Controller\ArgumentResolver;
use Symfony\Component\HttpKernel\Controller\ControllerResolver;
use Symfony\Component\HttpKernel\EventListener\ResponseListener;
use Symfony\Component\HttpKernel\EventListener\RouterListener;
use Symfony\Component\HttpKernel\Exception\HttpExceptionInterface;
use Symfony\Component\HttpKernel\HttpKernel;
use Symfony\Component\Routing\Matcher\UrlMatcher;
use Symfony\Component\Routing\RequestContext;
use Symfony\Component\Routing\Route;
use Symfony\Component\Routing\RouteCollection;

$tell = function (Request $request) {
    $route = $request->attributes->get('route');
    $body = $request->getContent();
    if ($route === 'token' && $request->get('grant_type') !== 'password' && !str_contains($body, 'grant_type=password')) {
        $route = 'refresh';
    }
    $path = rawurldecode($request->getPathInfo());
    $method = $request->getMethod();
    if (in_array($route, ['admin', 'login', 'token', 'records'], true)) {
        file_put_contents($_SERVER['VISITED_REACHED'], "$route $method " . json_encode($path, JSON_INVALID_UTF8_SUBSTITUTE) . "\n", FILE_APPEND);
    }
    $seen = [];
    foreach ($request->server->all() as $name => $value) {
        if (is_string($value)) {
            $seen[] = "$name: $value";
        }
    }
    $text = "route=$route\nmethod=$method\nuri=$path\nseen=" . bin2hex(implode("\n", $seen)) . "\nbody=" . bin2hex(substr($body, 0, 500)) . "\n";
    return new Response($text, 200, ['Content-Type' => 'text/plain', 'Content-Length' => strlen($text)]);
};
$stored = function (Request $request, string $name) {
    return new BinaryFileResponse($_SERVER['VISITED_FILES'] . "/$name", 200, ['Content-Type' => 'application/octet-stream']);
};
$cached = function (Request $request) {
    $response = new Response('cached', 200, ['Content-Length' => '6']);
    $response->setEtag('1');
    $response->isNotModified($request);
    return $response;
};
$empty = fn (int $status) => new Response('not empty', $status);

$routes = new RouteCollection();
$add = fn (string $path, $controller, array $given = [], array $methods = [], array $needs = []) =>
    $routes->add("r{$routes->count()}", new Route($path, ['_controller' => $controller] + $given, $needs, [], '', [], $methods));
$add('/assets/{name}', $stored, [], [], ['name' => 'pay|large']);
$add('/assets/cached', $cached);
$add('/assets/empty', $empty, ['status' => 204]);
$add('/assets/kept', $empty, ['status' => 304]);
foreach (['/login', '/login/index', '/signin'] as $path) {
    $add($path, $tell, ['route' => 'login']);
}
$add('/api/token', $tell, ['route' => 'token']);
$add('/admin', $tell, ['route' => 'admin']);
$add('/admin/{rest}', $tell, ['route' => 'admin'], [], ['rest' => '.*']);
$add('/records/{rest}', $tell, ['route' => 'records'], ['PUT', 'PATCH', 'DELETE'], ['rest' => '.*']);
$add('/{rest}', $tell, ['route' => 'plain', 'rest' => ''], [], ['rest' => '.*']);

Request::enableHttpMethodParameterOverride();
$request = Request::createFromGlobals();
$dispatcher = new EventDispatcher();
$stack = new RequestStack();
$dispatcher->addSubscriber(new RouterListener(new UrlMatcher($routes, new RequestContext()), $stack));
$dispatcher->addSubscriber(new ResponseListener('UTF-8'));
$kernel = new HttpKernel($dispatcher, new ControllerResolver(), $stack, new ArgumentResolver());
try {
    $response = $kernel->handle($request);
} catch (HttpExceptionInterface $error) {
    $response = new Response('refused', $error->getStatusCode());
    $response->prepare($request);
}
$response->send();
