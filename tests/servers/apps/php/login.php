<?php
// A script of its own: reached as /login.php, as /login.php/anything, and as /login where the server leaves extensions out.
file_put_contents(getenv('VISITED_REACHED') ?: $_SERVER['VISITED_REACHED'], 'login ' . $_SERVER['REQUEST_METHOD'] . " login.php\n", FILE_APPEND);
header('Content-Type: text/plain');
echo "route=login\n";
