import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.api.WebSocketAdapter;
import org.eclipse.jetty.websocket.servlet.WebSocketServlet;
import org.eclipse.jetty.websocket.servlet.WebSocketServletFactory;

/** Jetty 9 with the application: `JettyMain PORT`. */
public class JettyMain {
    public static void main(String[] arguments) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        server.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler();
        context.setContextPath("/");
        String[][] mapped = {
            {"admin", "/admin/*"}, {"login", "/login"}, {"login", "/login/index"}, {"login", "/signin"},
            {"token", "/api/token"}, {"records", "/records/*"}, {"plain", "/*"},
        };
        for (String[] each : mapped) {
            ServletHolder holder = new ServletHolder(new Visited());
            holder.setInitParameter("route", each[0]);
            context.addServlet(holder, each[1]);
        }
        context.addServlet(new ServletHolder(new EchoServlet()), "/assets/ws");
        server.setHandler(context);
        server.start();
        server.join();
    }

    /** A WebSocket that echoes. */
    public static class EchoServlet extends WebSocketServlet {
        @Override
        public void configure(WebSocketServletFactory factory) {
            factory.register(EchoSocket.class);
        }
    }

    public static class EchoSocket extends WebSocketAdapter {
        @Override
        public void onWebSocketText(String text) {
            getRemote().sendStringByFuture(text);
        }
    }
}
