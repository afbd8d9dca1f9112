import jakarta.websocket.OnMessage;
import jakarta.websocket.server.ServerEndpoint;

/** A WebSocket that echoes, on Tomcat. */
@ServerEndpoint("/assets/ws")
public class Echo {
    @OnMessage
    public String echo(String text) {
        return text;
    }
}
