<?php
// The application of tests/servers, as a front controller: /index.php/PATH and /PATH alike.

$files = getenv('VISITED_FILES') ?: $_SERVER['VISITED_FILES'];
$reached = getenv('VISITED_REACHED') ?: $_SERVER['VISITED_REACHED'];
$path = $_SERVER['PATH_INFO'] ?? '';
if ($path === '') {
    $path = rawurldecode(explode('?', $_SERVER['REQUEST_URI'])[0]);
}
$query = $_SERVER['QUERY_STRING'] ?? '';
$body = file_get_contents('php://input');

function send(string $file): void
{
    header('Content-Type: application/octet-stream');
    header('Content-Length: ' . filesize($file));
    readfile($file);
    exit;
}

if ($path === '/assets/pay') {
    send("$files/pay");
}
if ($path === '/assets/large') {
    send("$files/large");
}
if ($path === '/assets/cached') {
    header('ETag: "1"');
    if (($_SERVER['HTTP_IF_NONE_MATCH'] ?? '') === '"1"') {
        http_response_code(304);
        exit;
    }
    header('Content-Length: 6');
    exit('cached');
}
if ($path === '/assets/empty' || $path === '/assets/kept') {
    http_response_code($path === '/assets/empty' ? 204 : 304);
    readfile("$files/pay");
    exit;
}

$method = $_SERVER['REQUEST_METHOD'];
if ($method === 'POST') {
    $method = strtoupper($_SERVER['HTTP_X_HTTP_METHOD_OVERRIDE'] ?? $_POST['_method'] ?? $_GET['_method'] ?? $method);
}
$plain = rtrim(strtolower($path), '/');
$route = 'plain';
if ($plain === '/admin' || str_starts_with($plain, '/admin/')) {
    $route = 'admin';
} elseif (preg_match('#^/(login(/(index|login|password))?|signin)$#D', $plain)) {
    $route = 'login';
} elseif ($plain === '/api/token') {
    $route = (($_POST['grant_type'] ?? $_GET['grant_type'] ?? '') === 'password' || str_contains($body, 'grant_type=password')) ? 'token' : 'refresh';
} elseif (str_starts_with($plain, '/records/') && in_array($method, ['PUT', 'PATCH', 'DELETE'], true)) {
    $route = 'records';
}
if (in_array($route, ['admin', 'login', 'token', 'records'], true)) {
    file_put_contents($reached, "$route $method " . json_encode($path, JSON_INVALID_UTF8_SUBSTITUTE) . "\n", FILE_APPEND);
}
$seen = [];
foreach ($_SERVER as $name => $value) {
    if (is_string($value)) {
        $seen[] = "$name: $value";
    }
}
$text = "route=$route\nmethod=$method\nuri=$path\nseen=" . bin2hex(implode("\n", $seen)) . "\nbody=" . bin2hex(substr($body, 0, 500)) . "\n";
header('Content-Type: text/plain');
header('Content-Length: ' . strlen($text));
echo $text;
