// Sells through the loopback API from C# (.NET 8 or newer, nothing to install).
//
//   dotnet run -- C:\ProgramData\edge-agent 00000006-0000-4000-8000-000000000000 [port]
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;

if (args.Length < 2)
{
    Console.Error.WriteLine("usage: Pos HOME PRODUCT_ID [PORT]");
    return 2;
}

var agent = new Agent(args[0], args.Length > 2 ? int.Parse(args[2]) : 8780);
using var product = await agent.GetAsync($"products/{args[1]}");
var price = product.RootElement.GetProperty("price").GetString();
if (price is null)
{
    Console.Error.WriteLine("This product has no price: ask.");
    return 1;
}

// The sale's own id, made once: keep it with the sale until it is recorded.
var sale = new
{
    external_id = Guid.NewGuid().ToString("D"),
    items = new[] { new { product = args[1], quantity = "1", unit_price = price } },
};
using var sold = await agent.SellAsync(sale, sale.external_id);
Console.WriteLine(
    $"sold {sold.RootElement.GetProperty("external_id")} " +
    $"number {sold.RootElement.GetProperty("device_seq")}: " +
    $"{sold.RootElement.GetProperty("total_amount")} {sold.RootElement.GetProperty("currency")}");
return 0;

/// <summary>The agent understood, and said no: sending the same again helps nothing.</summary>
sealed class RefusedException(string message) : Exception(message);

sealed class Agent
{
    private static readonly int[] PausesMs = [0, 500, 1_000, 2_000, 4_000];
    private readonly HttpClient http;
    private readonly string home;

    public Agent(string home, int port)
    {
        this.home = home;
        // No proxy: a till's proxy settings must not send this anywhere else. One client for the till's whole life.
        http = new HttpClient(new SocketsHttpHandler { UseProxy = false })
        {
            BaseAddress = new Uri($"http://127.0.0.1:{port}/v1/"),
            Timeout = TimeSpan.FromSeconds(15),
        };
    }

    private async Task<HttpResponseMessage> AskAsync(HttpMethod method, string path, object? body = null)
    {
        // Read each time: a new token needs no restart of the till.
        var token = (await File.ReadAllTextAsync(Path.Combine(home, "local-api.token"))).Trim();
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        if (body is not null)
        {
            request.Content = JsonContent.Create(body);
        }
        return await http.SendAsync(request);
    }

    public async Task<JsonDocument> GetAsync(string path)
    {
        using var response = await AskAsync(HttpMethod.Get, path);
        var text = await response.Content.ReadAsStringAsync();
        return response.IsSuccessStatusCode ? JsonDocument.Parse(text) : throw new RefusedException(text);
    }

    /// <summary>Records a sale. Its external_id makes every retry harmless.</summary>
    public async Task<JsonDocument> SellAsync(object sale, string externalId)
    {
        Exception? last = null;
        foreach (var pause in PausesMs)
        {
            await Task.Delay(pause);
            try
            {
                using var response = await AskAsync(HttpMethod.Post, "sales", sale);
                var text = await response.Content.ReadAsStringAsync();
                if (response.IsSuccessStatusCode)
                {
                    return JsonDocument.Parse(text); // 201: recorded now. 200: an earlier try had recorded it.
                }
                if (!InDoubt(response.StatusCode))
                {
                    throw new RefusedException(text);
                }
                last = new HttpRequestException(text);
            }
            // No answer proves nothing: it may be recorded.
            catch (Exception error) when (error is HttpRequestException or TaskCanceledException or IOException)
            {
                last = error;
            }
        }
        throw new InvalidOperationException($"sale {externalId} is in doubt: send it again later", last);
    }

    private static bool InDoubt(HttpStatusCode status) =>
        status is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests || (int)status >= 500;
}
