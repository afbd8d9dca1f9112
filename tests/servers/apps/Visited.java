import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;

/**
 * The application of tests/servers as a servlet. The container's own mapping says which route it is: the init parameter "route".
 *
 * Compiled for Jetty 9 as it is, for Tomcat 10 with the package jakarta.servlet.
 */
public class Visited extends HttpServlet {
    private static final List<String> CHANGES = Arrays.asList("PUT", "PATCH", "DELETE");
    private static final Path FILES = Path.of(System.getenv("VISITED_FILES"));
    private static final Path REACHED = Path.of(System.getenv("VISITED_REACHED"));

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String path = request.getServletPath() + (request.getPathInfo() == null ? "" : request.getPathInfo());
        if (path.equals("/assets/pay") || path.equals("/assets/large")) {
            byte[] stored = Files.readAllBytes(FILES.resolve(path.substring("/assets/".length())));
            response.setContentType("application/octet-stream");
            answer(response, stored);
        } else if (path.equals("/assets/cached")) {
            response.setHeader("ETag", "\"1\"");
            if ("\"1\"".equals(request.getHeader("If-None-Match"))) {
                response.setStatus(304);
            } else {
                answer(response, "cached".getBytes(StandardCharsets.US_ASCII));
            }
        } else if (path.equals("/assets/empty") || path.equals("/assets/kept")) {
            response.setStatus(path.endsWith("empty") ? 204 : 304);
            response.getOutputStream().write(Files.readAllBytes(FILES.resolve("pay")));
        } else {
            tell(request, response, path);
        }
    }

    private void tell(HttpServletRequest request, HttpServletResponse response, String path) throws IOException {
        byte[] body = request.getInputStream().readAllBytes();
        String method = request.getMethod();
        String sent = new String(body, StandardCharsets.ISO_8859_1) + "?" + request.getQueryString();
        String override = request.getHeader("X-HTTP-Method-Override");
        if (method.equals("POST") && override != null) {
            method = override.toUpperCase();
        }
        String route = getInitParameter("route");
        if (route.equals("token") && !sent.contains("grant_type=password")) {
            route = "refresh";
        }
        if (route.equals("records") && !CHANGES.contains(method)) {
            route = "plain";
        }
        if (Arrays.asList("admin", "login", "token", "records").contains(route)) {
            String line = route + " " + method + " " + path.replace("\n", "?") + "\n";
            Files.write(REACHED, line.getBytes(StandardCharsets.UTF_8), StandardOpenOption.APPEND);
        }
        StringBuilder seen = new StringBuilder();
        for (String name : Collections.list(request.getHeaderNames())) {
            for (String value : Collections.list(request.getHeaders(name))) {
                seen.append(name).append(": ").append(value).append("\n");
            }
        }
        seen.append("user: ").append(request.getRemoteUser()).append("\ncontext: ").append(request.getContextPath());
        String text = "route=" + route + "\nmethod=" + method + "\nuri=" + path + "\nseen="
            + hex(seen.toString().getBytes(StandardCharsets.UTF_8)) + "\nbody=" + hex(Arrays.copyOf(body, Math.min(body.length, 500))) + "\n";
        response.setContentType("text/plain;charset=utf-8");
        answer(response, text.getBytes(StandardCharsets.UTF_8));
    }

    private static void answer(HttpServletResponse response, byte[] body) throws IOException {
        response.setContentLength(body.length);
        OutputStream out = response.getOutputStream();
        out.write(body);
    }

    private static String hex(byte[] bytes) {
        StringBuilder digits = new StringBuilder();
        for (byte each : bytes) {
            digits.append(String.format("%02x", each));
        }
        return digits.toString();
    }
}
