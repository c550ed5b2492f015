// SPDX-License-Identifier: Apache-2.0
// An HTTP server that returns what it is sent, and a client that checks it.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;

public class Echo {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("server")) serve(args[1], Integer.parseInt(args[2]));
    else ask(args[1], Integer.parseInt(args[2]));
  }

  static void serve(String address, int port) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(address, port), 0);
    server.createContext("/", exchange -> {
      byte[] body = exchange.getRequestBody().readAllBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }

  static void ask(String address, int port) throws Exception {
    String host = address.contains(":") ? "[" + address + "]" : address;
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    int right = 0;
    for (int i = 0; i < 24; ++i) {
      byte[] body = new byte[1000 + i * 40000];
      new Random(i).nextBytes(body);
      HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + host + ":" + port + "/"))
          .timeout(Duration.ofSeconds(20)).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
      if (Arrays.equals(client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body(), body)) ++right;
    }
    System.out.println(right + " answers are right");
  }
}
