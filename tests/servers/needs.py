"""What `make servers` needs from the operating system, besides what the end-to-end tests need; installed in the same way."""

import sys

from tests.e2e import needs

#: A file that each package brings, and the package. `rails` itself is not asked for: what it adds for browsers cannot be installed beside
#: newer packages of Node; Rails is `ruby-railties` with `ruby-actionpack`.
PACKAGES = {
    "/usr/bin/puma": "puma",
    "/usr/bin/rackup": "ruby-rack",
    "/usr/share/doc/ruby-railties": "ruby-railties",
    "/usr/share/doc/ruby-actionpack": "ruby-actionpack",
    "/usr/share/doc/ruby-webrick": "ruby-webrick",
    "/usr/bin/javac": "default-jdk-headless",
    "/usr/share/tomcat10/lib": "tomcat10",
    "/usr/share/jetty9/lib": "jetty9",
    "/usr/bin/uwsgi-core": "uwsgi-core",
    "/usr/lib/uwsgi/plugins/python311_plugin.so": "uwsgi-plugin-python3",
    "/usr/sbin/php-fpm8.2": "php-fpm",
    "/usr/share/php/Symfony/Component/HttpKernel/autoload.php": "php-symfony-http-kernel",
    "/usr/share/php/Symfony/Component/Routing/autoload.php": "php-symfony-routing",
    "/usr/share/wordpress/wp-login.php": "wordpress",
    "/usr/sbin/mariadbd": "mariadb-server",
    "/usr/share/doc/php-mysql": "php-mysql",
    "/usr/share/doc/php-xml": "php-xml",
}

if __name__ == "__main__":
    sys.exit(needs.main("make servers", {**needs.PACKAGES, **PACKAGES}))
