// Predict with a file that Convwright exported, without Convwright: predict FILE.xml IMAGE.ppm
// The file crops, resizes and normalises the image. PPM is the plainest format of images: libraries such as stb_image or
// OpenCV (in RGB order) give the same pixels for others.
#include <openvino/openvino.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
    std::size_t width = 0, height = 0;
    std::vector<std::uint8_t> pixels;  // RGB, row by row
};

Image read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    std::size_t width = 0, height = 0, largest = 0;
    if (!(file >> kind >> width >> height >> largest) || kind != "P6" || largest != 255 || width == 0 || height == 0)
        throw std::runtime_error(path + ": not a PPM file (P6) of 8 bits");
    file.get();
    Image image{width, height, std::vector<std::uint8_t>(width * height * 3)};
    if (!file.read(reinterpret_cast<char*>(image.pixels.data()), static_cast<std::streamsize>(image.pixels.size())))
        throw std::runtime_error(path + ": it ends too early");
    return image;
}

int main(int count, char** words) try {
    if (count != 3) throw std::runtime_error("predict FILE.xml IMAGE.ppm");
    // In bfloat16, OpenVINO's default on some processors, resizing would not be exact.
    auto model = ov::Core().compile_model(words[1], "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = model.create_infer_request();
    Image image = read_ppm(words[2]);
    request.set_tensor("image", {ov::element::u8, {1, image.height, image.width, 3}, image.pixels.data()});
    request.infer();

    bool calibrated = false;  // a file without limits has no calibrated probabilities, only logits
    for (const auto& output : model.outputs()) calibrated |= output.get_names().count("probabilities") > 0;
    auto found = request.get_tensor(calibrated ? "probabilities" : "logits");
    const float* values = found.data<const float>();
    std::vector<double> shares(values, values + found.get_size());
    const double largest = *std::max_element(shares.begin(), shares.end());
    if (!calibrated)
        for (double& share : shares) share = std::exp(share - largest);
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::vector<std::size_t> order(shares.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto one, auto other) { return shares[one] > shares[other]; });
    order.resize(std::min<std::size_t>(order.size(), 5));
    for (auto index : order) std::printf("%zu %.6f\n", index, shares[index] / sum);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
