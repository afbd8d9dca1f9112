"""How servers and frameworks read a path, a parameter's name and a method override: one row for each kind, as data, with its source.

The invariant: a row may give more readings than its server has, never fewer. What all rows have in common is no trait: `paths` folds letter
case, escapes, path parameters, empty segments, dots and blanks at the end of a segment and the last slash for every application.
`readings` derives the readings; `config.values.READERS` lists the names for `reads_like`. docs/threats.md C-65 to C-67. Pure.
"""

from dataclasses import dataclass
from enum import IntFlag, auto
from typing import Final, Literal

from gateway.config.field_names import METHOD_OVERRIDES


class Trait(IntFlag):
    """One thing that a server does with a path after it was decoded and folded."""

    #: `/login.1`, `/login.json`, `/login.php` are `/login`: the text after a dot of the last segment is a format.
    SUFFIX = auto()
    #: `/login.php/x` runs `/login.php`; the rest is its PATH_INFO.
    SCRIPT = auto()
    #: `/index.php/admin/users` is `/admin/users`: the script is a front controller, and routes what follows it.
    FRONT = auto()
    #: `/login` and `/login/x` run `login.php`: the extension need not be sent.
    BARE = auto()
    #: `/login/` is `/login/index.php`: a folder has a default document.
    INDEX = auto()
    #: `/login/index/1`, `/login/index` and `/login` are one action, `/login/reset/1` and `/login/reset` another, `/home/index` and `/` a third.
    ACTION = auto()
    #: `/login.aspx::$DATA` is `/login.aspx`, `/admin:$i30:$INDEX_ALLOCATION/x` is `/admin/x`: streams of an NTFS file.
    STREAM = auto()
    #: The path may stand in the query or the body (`RouteParameter`).
    PARAMETER = auto()


NONE: Final = Trait(0)
Seen = Literal["tested", "documentation"]
Where = Literal["query", "form", "json"]
NameRead = Literal["cut at NUL", "%uXXXX", "blank . [ are _", "name[] is name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteParameter:
    """A parameter whose value is the path that is routed.

    `below`: what the value is appended to. `in_body`: a form has it too. `anywhere`: on every path; otherwise a value without a slash counts
    only where the path is a front controller's (`/`, a script), since `/search?q=admin` is a search elsewhere.
    `own`: only for an application that is known to be of this kind, because others use the name for something else.
    """

    name: str
    below: str = ""
    in_body: bool = False
    anywhere: bool = False
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Where a server reads another method: from these header fields (in lower case), or from these parameters in these places."""

    fields: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    where: frozenset[Where] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingModel:
    """`seen`: whether tests compare the row with the real server, or it was written from the documentation that `source` names.

    `pages`: parameters that name a page, or a list of pages, by no path, in a query or a form; `pages_of_query`: only there
    (both only for an application known to be of this kind).
    `names`: what the server makes of a parameter's name besides decoding it.
    """

    name: str
    source: str
    seen: Seen
    traits: Trait = NONE
    routes: tuple[RouteParameter, ...] = ()
    pages: frozenset[str] = frozenset()
    pages_of_query: frozenset[str] = frozenset()
    names: frozenset[NameRead] = frozenset()
    override: Override = Override()


_HEADER: Final = frozenset(("x-http-method-override",))
_HEADERS: Final = METHOD_OVERRIDES
_METHOD: Final = frozenset(("_method",))
_QUERY_AND_FORM: Final[frozenset[Where]] = frozenset(("query", "form"))
_EVERYWHERE: Final[frozenset[Where]] = frozenset(("query", "form", "json"))
_PHP: Final = Trait.SUFFIX | Trait.SCRIPT | Trait.FRONT | Trait.BARE | Trait.INDEX
_PHP_NAMES: Final[frozenset[NameRead]] = frozenset(("cut at NUL", "blank . [ are _", "name[] is name"))
_LISTS: Final[frozenset[NameRead]] = frozenset(("name[] is name",))
_UTF16: Final[frozenset[NameRead]] = frozenset(("%uXXXX",))

ROWS: Final[tuple[ReadingModel, ...]] = (
    ReadingModel(
        name="django",
        source="django/core/handlers/wsgi.py get_path_info; docs: URL dispatcher, APPEND_SLASH; it has no method override",
        seen="tested",
    ),
    ReadingModel(
        name="django-rest",
        source="Django REST framework docs: DefaultRouter adds format suffixes (.json) to each of its routes, format_suffix_patterns",
        seen="documentation",
        traits=Trait.SUFFIX,
    ),
    ReadingModel(
        name="werkzeug",
        source="werkzeug/routing/map.py merge_slashes, strict_slashes; Flask docs: HTTPMethodOverrideMiddleware",
        seen="tested",
        override=Override(fields=_HEADER),
    ),
    ReadingModel(
        name="starlette",
        source="starlette/routing.py compile_path, redirect_slashes; it has no method override",
        seen="tested",
    ),
    ReadingModel(
        name="rails",
        source="docs: Rails Routing, section 3.x on formats, `resources` adds (.:format); ActionDispatch::Journey normalises slashes",
        seen="documentation",
        traits=Trait.SUFFIX,
        names=_LISTS,
        override=Override(fields=_HEADER, parameters=_METHOD, where=frozenset(("form",))),
    ),
    ReadingModel(
        name="rack",
        source="rack/lib/rack/method_override.rb; Rack::Request#form_data? takes a POST without Content-Type for a form; Rack::URLMap",
        seen="documentation",
        names=_LISTS,
        override=Override(fields=_HEADER, parameters=_METHOD, where=frozenset(("form",))),
    ),
    ReadingModel(
        name="spring",
        source="docs: Spring MVC, PathPattern and trailing slash; HiddenHttpMethodFilter (_method, as a servlet parameter: query or form)",
        seen="documentation",
        override=Override(parameters=_METHOD, where=_QUERY_AND_FORM),
    ),
    ReadingModel(
        name="spring-suffix",
        source="docs: Spring MVC 4 and 5.2, suffix pattern matching, on by default up to 5.2: /person is mapped to /person.* too",
        seen="documentation",
        traits=Trait.SUFFIX,
        override=Override(parameters=_METHOD, where=_QUERY_AND_FORM),
    ),
    ReadingModel(
        name="tomcat",
        source="Servlet specification 12.1 and 10.10 (welcome files); Tomcat: path parameters, `..;` (refused as a dot segment in disguise)",
        seen="documentation",
        traits=Trait.INDEX,
    ),
    ReadingModel(
        name="aspnet-mvc",
        source="docs: ASP.NET MVC and Core, the default route {controller=Home}/{action=Index}/{id?}; Web API {controller}/{id}; "
        "HttpRequestExtensions.GetHttpMethodOverride (header, form, query)",
        seen="documentation",
        traits=Trait.ACTION | Trait.INDEX,
        names=_UTF16,
        override=Override(
            fields=_HEADERS, parameters=frozenset(("x-http-method-override", "_method")), where=_QUERY_AND_FORM
        ),
    ),
    ReadingModel(
        name="iis",
        source="docs: IIS default documents, HttpRequest.PathInfo, FriendlyUrls (extension-less .aspx); HttpUtility.UrlDecode (%uXXXX); "
        "CVE-2010-2731 (::$INDEX_ALLOCATION)",
        seen="documentation",
        traits=Trait.SUFFIX | Trait.SCRIPT | Trait.FRONT | Trait.BARE | Trait.INDEX | Trait.STREAM,
        names=_UTF16,
    ),
    ReadingModel(
        name="php-fpm",
        source="PHP manual: cgi.fix_pathinfo, variables from external sources (names are mangled); seen with the server of `php -S`",
        seen="tested",
        traits=_PHP,
        names=_PHP_NAMES,
    ),
    ReadingModel(
        name="apache-multiviews",
        source="Apache httpd manual: mod_negotiation (MultiViews), AcceptPathInfo, DirectoryIndex",
        seen="tested",
        traits=_PHP,
    ),
    ReadingModel(
        name="symfony",
        source="Symfony HttpFoundation Request::prepareBaseUrl, preparePathInfo, getMethod; routes with .{_format}",
        seen="documentation",
        traits=_PHP,
        names=_PHP_NAMES,
        override=Override(fields=_HEADER, parameters=_METHOD, where=_EVERYWHERE),
    ),
    ReadingModel(
        name="laravel",
        source="Laravel: Request::createFromBase (JSON counts as the form), form method spoofing; its path is Symfony's",
        seen="documentation",
        traits=_PHP,
        names=_PHP_NAMES,
        override=Override(fields=_HEADER, parameters=_METHOD, where=_EVERYWHERE),
    ),
    ReadingModel(
        name="wordpress",
        source="WordPress: WP::parse_request (PATH_INFO, public query variables in query and body), rest_api_loaded, "
        "WP_REST_Server::serve_request (_method, X-HTTP-Method-Override)",
        seen="documentation",
        traits=_PHP | Trait.PARAMETER,
        routes=(
            RouteParameter(name="rest_route", below="/wp-json", in_body=True, anywhere=True),
            RouteParameter(name="pagename", in_body=True, anywhere=True),
            RouteParameter(name="name", in_body=True, anywhere=True, own=True),
        ),
        pages=frozenset(
            (
                *("p", "page_id", "attachment_id", "attachment", "cat", "category_name", "tag", "author_name"),
                *("post_type", "taxonomy", "term", "m", "year", "monthnum"),
            )
        ),
        pages_of_query=frozenset(("author",)),  # the form for comments has a field of this name
        names=_PHP_NAMES,
        override=Override(fields=_HEADER, parameters=_METHOD, where=frozenset(("query",))),
    ),
    ReadingModel(
        name="yii",
        source="Yii 2 guide: URL Management, the default URL format is /index.php?r=controller/action; Request::$methodParam",
        seen="documentation",
        traits=_PHP | Trait.PARAMETER,
        routes=(RouteParameter(name="r"),),
        names=_PHP_NAMES,
        override=Override(fields=_HEADER, parameters=_METHOD, where=frozenset(("form",))),
    ),
    ReadingModel(
        name="drupal-7",
        source="Drupal 7 request_path(): the query parameter q",
        seen="documentation",
        traits=_PHP | Trait.PARAMETER,
        routes=(RouteParameter(name="q"),),
        names=_PHP_NAMES,
    ),
    ReadingModel(
        name="codeigniter",
        source="CodeIgniter 3 guide: index.php, uri_protocol QUERY_STRING (/index.php?/controller/method), default method index, _method",
        seen="documentation",
        traits=_PHP | Trait.PARAMETER | Trait.ACTION,
        routes=(RouteParameter(name=""),),
        names=_PHP_NAMES,
        override=Override(parameters=_METHOD, where=frozenset(("form",))),
    ),
    ReadingModel(
        name="express",
        source="Express 4 and 5 docs: `case sensitive routing` and `strict routing` are off; method-override",
        seen="tested",
        names=_LISTS,
        override=Override(fields=_HEADERS, parameters=_METHOD, where=_QUERY_AND_FORM),
    ),
    ReadingModel(
        name="fastify",
        source="Fastify docs: ignoreTrailingSlash, caseSensitive, ignoreDuplicateSlashes, useSemicolonDelimiter (on up to version 4)",
        seen="tested",
    ),
    ReadingModel(
        name="go",
        source="Go net/http ServeMux: clean paths, trailing slash and {x...} patterns; index.html of FileServer",
        seen="documentation",
        traits=Trait.INDEX,
    ),
    ReadingModel(
        name="nginx",
        source="nginx docs: merge_slashes, index, try_files $uri $uri.html, fastcgi_split_path_info",
        seen="tested",
        traits=Trait.SCRIPT | Trait.BARE | Trait.INDEX,
    ),
)

NAMES: Final = tuple(row.name for row in ROWS)

#: The parameters that name another method in some row, and the header fields that do.
OVERRIDE_PARAMETERS: Final = frozenset(name for row in ROWS for name in row.override.parameters)
OVERRIDE_FIELDS: Final = frozenset(name for row in ROWS for name in row.override.fields)
