import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.logging.Logger;

public final class Caller {
    static void visit(URI url) throws Exception {
        var answer = HttpClient.newHttpClient().send(HttpRequest.newBuilder(url).build(), BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException(url + " answers " + answer.statusCode());
        }
        Logger.getLogger("caller").warning("visited");
    }

    public static void main(String[] arguments) throws Exception {
        visit(URI.create(arguments[0]));
    }
}
