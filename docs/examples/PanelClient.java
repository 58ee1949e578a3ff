import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Plans a job on a cluster, starts exactly that plan, prints its log and returns how it ended. JDK 11 or newer, nothing else.
 *
 *   PGPANEL_TOKEN=pgp_… java PanelClient.java https://panel.example.net registry switchover '{"candidate":"pg2"}'
 *
 * Exit codes: 0 succeeded, 1 it did not, 2 the plan was refused. In an application read the answers with its JSON library.
 */
public class PanelClient {
    private static final Pattern ENDED = Pattern.compile("succeeded|failed|errored|cancelled|lost");

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1) // no attempt at h2c, which costs a POST its body
        .connectTimeout(Duration.ofSeconds(10)).build();
    private final String root;
    private final String token;

    PanelClient(String panel, String token) {
        this.root = panel.replaceAll("/+$", "") + "/api/v1";
        this.token = token;
    }

    public static void main(String[] given) throws Exception {
        PanelClient panel = new PanelClient(given[0], System.getenv("PGPANEL_TOKEN"));
        System.exit(panel.run(given[1], given[2], given.length > 3 ? given[3] : "{}"));
    }

    int run(String cluster, String kind, String params) throws Exception {
        String topology = get("/clusters/" + cluster).headers().firstValue("ETag").orElseThrow();
        String plan = post("/clusters/" + cluster + "/plans", "{\"kind\":\"" + kind + "\",\"params\":" + params + "}", topology);
        String id = number(plan, "id");
        while (text(plan, "status").equals("planning")) {
            Thread.sleep(300);
            plan = get("/plans/" + id).body();
        }
        if (!text(plan, "status").equals("planned")) {
            System.err.println(plan);
            return 2;
        }
        post("/clusters/" + cluster + "/jobs", "{\"plan\":" + id + ",\"hash\":\"" + text(plan, "hash") + "\"}", topology);
        String status = followed(id);
        System.out.println("job " + id + " " + status);
        return status.equals("succeeded") ? 0 : 1;
    }

    /** Server-sent events; after a broken line it goes on behind the last event that was heard. */
    private String followed(String job) throws Exception {
        String last = "0";
        while (true) {
            HttpRequest request = request("/jobs/" + job + "/events").header("Last-Event-ID", last).GET().build();
            HttpResponse<Stream<String>> answer = http.send(request, HttpResponse.BodyHandlers.ofLines());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException("the events are answered " + answer.statusCode());
            }
            try (Stream<String> lines = answer.body()) {
                String event = "";
                for (String line : (Iterable<String>) lines::iterator) {
                    if (line.startsWith("id: ")) {
                        last = line.substring(4);
                    } else if (line.startsWith("event: ")) {
                        event = line.substring(7);
                    } else if (line.startsWith("data: ") && event.equals("line")) {
                        System.out.println(line.substring(6));
                    } else if (line.startsWith("data: ") && event.equals("status")) {
                        String status = text(line.replace("\": \"", "\":\""), "status");
                        if (ENDED.matcher(status).matches()) {
                            return status;
                        }
                    }
                }
            } catch (java.io.UncheckedIOException broken) {
                Thread.sleep(1000);
            }
        }
    }

    private HttpResponse<String> get(String path) throws Exception {
        return answered(request(path).GET().build());
    }

    /** The same key is sent again if the line breaks, so that nothing is done twice. */
    private String post(String path, String body, String topology) throws Exception {
        HttpRequest request = request(path)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", UUID.randomUUID().toString())
            .header("If-Match", topology)
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        for (int attempt = 1; ; attempt++) {
            try {
                return answered(request).body();
            } catch (java.io.IOException broken) {
                if (attempt == 5) {
                    throw broken;
                }
                Thread.sleep(1000L * attempt);
            }
        }
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(root + path)).header("Authorization", "Bearer " + token);
    }

    private HttpResponse<String> answered(HttpRequest request) throws Exception {
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() >= 400) {
            throw new IllegalStateException(answer.statusCode() + " " + answer.body());
        }
        return answer;
    }

    private static String text(String json, String field) {
        return found(json, "\"" + field + "\":\"([^\"]*)\"");
    }

    private static String number(String json, String field) {
        return found(json, "\"" + field + "\":(\\d+)");
    }

    private static String found(String json, String pattern) {
        Matcher matcher = Pattern.compile(pattern).matcher(json);
        if (!matcher.find()) {
            throw new IllegalStateException("not in the answer: " + pattern + " " + json);
        }
        return matcher.group(1);
    }
}
